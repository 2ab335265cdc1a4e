# `--width` tasks that do nothing.

library(metaflow)

start <- function(self) self$items <- seq_len(self$width)
work <- function(self) NULL
join <- function(self, inputs) self$count <- length(inputs)

metaflow("ForeachRFlow") |>
  parameter("width", default = 50L) |>
  step(step = "start", r_function = start, foreach = "items", next_step = "work") |>
  step(step = "work", r_function = work, next_step = "join") |>
  step(step = "join", r_function = join, join = TRUE, next_step = "end") |>
  step(step = "end", r_function = function(self) NULL) |>
  run()
