# One task for each element of an artifact, and a join that gathers them. Run it: Rscript 02-foreach.R run
library(metaflow)

start <- function(self) {
  self$cars <- mtcars
  self$cylinders <- sort(unique(mtcars$cyl))
}

fit <- function(self) {
  some <- subset(self$cars, cyl == self$input)
  self$cyl <- self$input
  self$slope <- coef(lm(mpg ~ wt, data = some))[["wt"]]
}

join <- function(self, inputs) {
  self$slopes <- data.frame(
    cyl = unlist(gather_inputs(inputs, "cyl")),
    slope = unlist(gather_inputs(inputs, "slope"))
  )
}

metaflow("CarsFlow") |>
  step(step = "start", r_function = start, foreach = "cylinders", next_step = "fit") |>
  step(step = "fit", r_function = fit, next_step = "join") |>
  step(step = "join", r_function = join, join = TRUE, next_step = "end") |>
  step(step = "end", r_function = function(self) print(self$slopes)) |>
  run()
