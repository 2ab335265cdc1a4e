# Steps in Python and in R share one run and its artifacts. Run it: Rscript 04-both-languages.R run
library(metaflow)

fit <- function(self) {
  self$model <- lm(y ~ x, data = self$table)
  self$slope <- coef(self$model)[["x"]]
}

metaflow("BothFlow") |>
  step(step = "start", py_function = "both.py:load", next_step = "fit") |>
  step(step = "fit", r_function = fit, next_step = "report") |>
  step(step = "report", py_function = "both.py:report", next_step = "end") |>
  step(step = "end") |>
  run()
