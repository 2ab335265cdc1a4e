# A step as a plain function.

python_of_metaflow()

flow <- metaflow("CallFlow") |>
  parameter("alpha", default = 0.5) |>
  parameter("size-of", type = "int", required = TRUE) |>
  step(step = "start", r_function = function(self) self$rows <- 1:3 * 2L, foreach = "rows", next_step = "train") |>
  step(
    step = "train", retry(times = 3), catch(var = "failure"), next_step = "collect",
    r_function = function(self) {
      if (identical(self$input, "bad")) rlang::abort("from the step", class = "mine", data = 5)
      if (identical(self$input, "odd")) warning("odd")
      self$fit <- function(x) x * self$alpha
      self$noise <- runif(1)
      self$score <- self$input * self$alpha
      self$place <- self$index
    }
  ) |>
  step(
    step = "collect", join = TRUE, next_step = c(small = "left", large = "right"), condition = "kind",
    r_function = function(self, inputs) {
      self$scores <- unlist(gather_inputs(inputs, "score"))
      self$of <- vapply(inputs, function(one) one$input, 1)
      merge_artifacts(self, inputs, exclude = c("score", "fit", "noise", "place"))
      self$kind <- if (sum(self$scores) > 5) "large" else "small"
    }
  ) |>
  step(step = "left", next_step = "end") |>
  step(step = "right", r_function = function(self) self$seen <- c(current("step_name"), is.null(self$size_of)), next_step = "end") |>
  step(step = "end")

test_that("a step is called with artifacts and parameters", {
  before <- list.files(all.files = TRUE)
  result <- call_step(flow, "start")
  expect_identical(result$rows, c(2L, 4L, 6L))
  expect_identical(result$next_step, "train")
  expect_identical(result$num_splits, 3L)
  expect_named(result, "rows")
  expect_identical(call_step(flow, "right")$seen, c("right", "TRUE"))
  expect_identical(call_step(flow, "right", size_of = 5L)$seen, c("right", "FALSE"))
  expect_length(call_step(flow, "left"), 0L)
  expect_identical(list.files(all.files = TRUE), before)
})

test_that("a child of a foreach is called, with the session's random numbers", {
  set.seed(1)
  expected <- runif(1)
  set.seed(1)
  child <- call_step(flow, "train", input = 4, index = 2, alpha = 0.25)
  expect_identical(child$score, 1)
  expect_identical(child$place, 2L)
  expect_identical(child$noise, expected)
  expect_identical(child$next_step, "collect")
  expect_identical(child[["score"]], 1)
  expect_error(child$scroe, "has not set `scroe`. Did you mean `score`", class = "metaflow_unknown_member")
})

test_that("conditions of the step are raised as they are", {
  raised <- expect_error(call_step(flow, "train", input = "bad"), "from the step", class = "mine")
  expect_identical(raised$data, 5)
  expect_warning(try(call_step(flow, "train", input = "odd"), silent = TRUE), "odd")
})

test_that("a join is called with lists, and with results", {
  joined <- call_step(flow, "collect", inputs = list(
    list(score = 1, input = 1, index = 0, data = "same"), list(score = 2, input = 7, data = "same")
  ))
  expect_identical(joined$scores, c(1, 2))
  expect_identical(joined$of, c(1, 7))
  expect_identical(joined$data, "same")
  expect_identical(joined$next_step, "left")
  children <- lapply(1:3, function(i) c(call_step(flow, "train", input = i), list(input = i)))
  expect_identical(call_step(flow, "collect", inputs = children)$scores, c(0.5, 1, 1.5))
  expect_error(
    call_step(flow, "collect", inputs = list(list(score = 1, input = 1, data = 1), list(score = 1, input = 1, data = 2))),
    class = "metaflow_unhandled_in_merge_artifacts"
  )
})

test_that("what can't be called is told", {
  refused <- function(message, ..., class = "metaflow_usage") {
    expect_match(conditionMessage(expect_error(call_step(...), class = class)), message, fixed = TRUE)
  }
  refused("The flow CallFlow has no step 'trian'. Did you mean 'train'?", flow, "trian")
  refused("The step collect is a join", flow, "collect")
  refused("The step end is no join", flow, "end", inputs = list(list()))
  refused("'train' can't be given as an artifact: it is a step.", flow, "end", train = 3)
  refused("takes artifacts by name, not 5", flow, "end", 5, class = "metaflow_invalid_argument")
  refused("takes the name of a step, not 5", flow, 5, class = "metaflow_invalid_argument")
  refused("goes with a flow", 5, "end", class = "metaflow_invalid_argument")
  refused("takes inputs as a list", flow, "collect", inputs = 5, class = "metaflow_invalid_argument")
})
