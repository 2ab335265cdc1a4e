# Three steps that do nothing.

library(metaflow)

metaflow("LinearRFlow") |>
  step(step = "start", r_function = function(self) NULL, next_step = "middle") |>
  step(step = "middle", r_function = function(self) NULL, next_step = "end") |>
  step(step = "end", r_function = function(self) NULL) |>
  run()
