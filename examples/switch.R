# Fits a curve of growing degree until a further one no longer helps: a step that leads back to itself.
#
#     Rscript examples/switch.R run
#     Rscript examples/switch.R run --enough 0.01
#
# Each turn is a task of its own, so each can be looked at afterwards, and `resume` continues in the turn that failed.

library(metaflow)

# Makes points on a wave.
start <- function(self) {
  self$points <- data.frame(x = (0:99) / 50)
  self$points$y <- self$points$x^3 - 2 * self$points$x^2 + c(-0.1, 0.1)
  self$degree <- 0
  self$errors <- numeric()
}

# Fits one degree more, and decides whether to go on.
train <- function(self) {
  self$degree <- self$degree + 1
  self$model <- lm(y ~ poly(x, self$degree), data = self$points)
  error <- mean(residuals(self$model)^2)
  gain <- if (length(self$errors)) 1 - error / tail(self$errors, 1) else 1
  self$errors <- c(self$errors, error)
  cat(sprintf("degree %d: error %.4f\n", self$degree, error))
  self$verdict <- if (self$degree >= self$most) {
    "limit"
  } else if (gain > self$enough || self$degree < 3) {
    "better"
  } else {
    "done"
  }
}

# Takes the last degree that helped.
accept <- function(self) self$best <- self$degree - 1

# The highest degree was reached, and it still helped.
warn <- function(self) {
  cat("no end in sight at degree", self$most, "\n")
  self$best <- self$degree
}

end <- function(self) cat("best degree:", self$best, "after", length(self$errors), "turns\n")

metaflow("AdaptiveRFlow") |>
  parameter("enough", default = 0.1, help = "stop when a degree more cuts the error by less than this part") |>
  parameter("most", default = 8, help = "the highest degree") |>
  step(step = "start", r_function = start, next_step = "train") |>
  step(
    step = "train", r_function = train,
    next_step = c(better = "train", done = "accept", limit = "warn"), condition = "verdict"
  ) |>
  step(step = "accept", r_function = accept, next_step = "end") |>
  step(step = "warn", r_function = warn, next_step = "end") |>
  step(step = "end", r_function = end) |>
  run()
