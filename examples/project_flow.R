# A flow of a project, and where a run of it belongs.
#
#   Rscript project_flow.R run                                    # the branch user.<your name>
#   Rscript project_flow.R --branch better_version run            # test.better_version
#   Rscript project_flow.R --production run                       # prod
#   Rscript project_flow.R --branch better_version --production run
library(metaflow)

start <- function(self) {
  cat("project name:", current("project_name"), "\n")
  cat("project branch:", current("branch_name"), "\n")
  cat("is this a production run?", current("is_production"), "\n")
  # What other people rely on is written in production only; each branch has a table of its own.
  branch <- gsub(".", "_", current("branch_name"), fixed = TRUE)
  self$table <- if (current("is_production")) "forecasts" else paste0("forecasts_", branch)
}

end <- function(self) cat(current("project_flow_name"), "writes to", self$table, "\n")

metaflow("ProjectFlow", project(name = "example_project"), schedule(daily = TRUE)) |>
  step(step = "start", r_function = start, next_step = "end") |>
  step(step = "end", r_function = end) |>
  run()
