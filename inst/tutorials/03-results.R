# Results of earlier runs. Run 02-foreach.R first, then: Rscript 03-results.R
library(metaflow)

run <- flow_client$new("CarsFlow")$latest_run
print(run)
print(run$data$slopes)
run$add_tags("looked_at")
print(run$user_tags)
