# A flow is a graph of steps. Run it: Rscript 01-hello.R run
library(metaflow)

start <- function(self) {
  self$greeting <- paste("hello,", self$who)
}

end <- function(self) {
  print(self$greeting)
}

metaflow("HelloFlow") |>
  parameter("who", default = "world") |>
  step(step = "start", r_function = start, next_step = "end") |>
  step(step = "end", r_function = end) |>
  run()
