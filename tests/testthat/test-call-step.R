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

other <- metaflow("OtherFlow") |>
  config("cfg", default_value = list(a = 4)) |>
  parameter("data", type = "json", default = '{"a":1}') |>
  parameter("words", separator = ",", default = "a,b") |>
  parameter("computed", default = function(context) context$flow_name) |>
  parameter("twice", default = config_expr(cfg$a * 2)) |>
  step(
    user_decorator("failing", around = function(self, body) stop("a decorator acts")),
    step = "start", next_step = c("right", "left"),
    r_function = function(self) {
      self$seen <- list(self$data, self$words, self$computed, self$cfg$a, self$twice)
      self$facts <- list(
        current("flow_name"), current("step_name"), current("namespace"), current()$retry_count, current("is_running_flow"),
        current("parameter_names"), names(current("graph")$steps)[1:2]
      )
      self$absent <- Filter(
        function(name) !is.null(current(name)), c("run_id", "task_id", "pathspec", "origin_run_id", "tags", "run", "task")
      )
    }
  ) |>
  step(step = "left", r_function = function(self) self$side <- "l", next_step = "join") |>
  step(step = "right", r_function = function(self) self$side <- "r", next_step = "join") |>
  step(
    step = "join", join = TRUE, next_step = "loop",
    r_function = function(self, inputs) self$sides <- c(names(inputs), inputs$left$side, inputs[[1]]$side)
  ) |>
  step(
    step = "loop", next_step = c(again = "loop", done = "gang"), condition = "go",
    r_function = function(self) {
      self$n <- self$n + 1
      self$go <- if (self$n < 3) "again" else if (self$n == 3) "done" else "lost"
    }
  ) |>
  step(step = "gang", num_parallel = 3, next_step = "work") |>
  step(decorator("parallel"), step = "work", next_step = "collect") |>
  step(step = "collect", join = TRUE, next_step = "end") |>
  step(step = "end", r_function = function(self) self$nothing)

test_that("parameters, configs and current are what a run would have", {
  called <- call_step(other, "start")
  expect_equal(called$seen, list(list(a = 1L), c("a", "b"), "OtherFlow", 4, 8))
  expect_equal(
    called$facts,
    list(
      "OtherFlow", "start", paste0("user:", Sys.getenv("METAFLOW_USER")), 0L, TRUE,
      c("data", "words", "computed", "twice"), c("start", "left")
    )
  )
  expect_length(called$absent, 0L)
  given <- call_step(other, "start", cfg = list(a = 1), words = "q", data = list(b = 2), computed = "mine")
  expect_equal(given$seen, list(list(b = 2), "q", "mine", 1, 2))
})

test_that("branches come in the order of the graph, and a switch leads where its condition says", {
  expect_identical(call_step(other, "start")$next_step, c("right", "left"))
  sides <- list(left = list(side = "l"), right = list(side = "r"))
  for (inputs in list(sides, rev(sides), unname(rev(sides)))) {
    expect_identical(call_step(other, "join", inputs = inputs)$sides, c("right", "left", "l", "r"))
  }
  expect_identical(call_step(other, "loop", n = 1)$next_step, "loop")
  expect_identical(call_step(other, "loop", n = 2)$next_step, "gang")
  expect_error(call_step(other, "loop", n = 3), "the value 'lost', which is none of the cases: again, done")
  gang <- call_step(other, "gang")
  expect_identical(list(gang$next_step, gang$num_splits), list("work", 3L))
  work <- lapply(0:2, function(i) call_step(other, "work", index = i))
  expect_identical(call_step(other, "collect", inputs = work)$next_step, "end")
  expect_error(call_step(other, "end"), "Step \"end\" has no artifact \"nothing\"")
})
