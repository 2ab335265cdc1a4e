# How fast does a chick grow, given its food? A line for each diet, side by side. The data comes with R.
#
# Rscript examples/chicks.R run

library(metaflow)

start <- function(self) {
  self$chicks <- as.data.frame(ChickWeight)
  self$diets <- levels(self$chicks$Diet)
}

fit <- function(self) {
  self$model <- lm(weight ~ Time, data = subset(self$chicks, Diet == self$input))
  self$row <- data.frame(diet = self$input, weighings = nobs(self$model), g_per_day = coef(self$model)[["Time"]])
  cat("diet ", self$input, ": ", round(self$row$g_per_day, 1), " g a day\n", sep = "")
}

join <- function(self, inputs) {
  self$growth <- do.call(rbind, gather_inputs(inputs, "row"))
}

end <- function(self) print(self$growth, digits = 3, row.names = FALSE)

metaflow("ChicksFlow") |>
  step(step = "start", r_function = start, foreach = "diets", next_step = "fit") |>
  step(step = "fit", r_function = fit, next_step = "join") |>
  step(step = "join", r_function = join, join = TRUE, next_step = "end") |>
  step(step = "end", r_function = end) |>
  run()
