# What an R user is told who defines a flow wrongly: our conditions, in the user's terms, that say what to write instead.
# Nothing here needs Python.

flow <- function() metaflow("F") |> step(step = "start", next_step = "end") |> step(step = "end")

refused <- function(...) {
  for (code in as.list(substitute(list(...)))[-1L]) {
    condition <- tryCatch(eval(code, parent.frame()), error = function(e) e)
    expect_s3_class(condition, "metaflow_invalid_argument")
    cat(paste(deparse(code, width.cutoff = 120L), collapse = " "), "\n    ", conditionMessage(condition), "\n", sep = "")
  }
}

test_that("wrong steps are explained", {
  f <- flow()
  greet <- function(self) 1
  expect_snapshot({
    refused(
      step(f, step = 5), step(f, step = NA_character_), step(f, step = ""), step(f, "a"), step(f), step(f, stp = "x"),
      step(f, step = start), step(f, step = "end"), step(f, step = "x", step = "y"), step(5, step = "x"), step(),
      step(f, step = "x", r_fuction = greet), step(f, step = "x", r_function = "no_such"), step(f, step = "x", r_function = no_such),
      step(f, step = "x", r_function = 3), step(f, step = "x", r_function = greet, py_function = "a.py:b"),
      step(f, step = "x", py_function = "features.build"), step(f, step = "x", next_step = 5), step(f, step = "x", next_step = NA),
      step(f, step = "x", next_step = end), step(f, step = "x", next_step = no_such_step), step(f, step = "x", join = NA),
      step(f, step = "x", foreach = 1:3, next_step = "y"), step(f, step = "x", foreach = "", next_step = "y"),
      step(f, step = "x", num_parallel = 1.5, next_step = "y"), step(f, step = "x", condition = "a", next_step = "y"),
      step(f, step = "x", condition = "a", next_step = c(b = "y", "z")),
      step(f, step = "x", condition = "a", foreach = "b", next_step = c(b = "y"))
    )
  })
})

test_that("wrong decorators are explained", {
  f <- flow()
  expect_snapshot({
    refused(
      step(f, step = "x", retry), step(f, step = "x", 5), step(f, step = "x", retry(times = 2, times = 3)),
      step(f, step = "x", retry(2)), step(f, step = "x", retry(tmies = 2)), step(f, step = "x", retry(times = NA)),
      step(f, step = "x", metaflow::timeout(hours = 1, hours = 2)), timeout(minuts = 2), catch("failure"), resources(memroy = 5),
      decorator(), decorator(5), decorator("retry", 3), decorator("retry", times = 3, times = 2), card("default"),
      environment_variables("a"), environment_variables(A = NULL), environment_variables(A = c("1", "2")),
      environment_variables(A = NA), metaflow("G", project("x")),
      metaflow("G") |> schedule(daily = TRUE), metaflow("G", schedule(daily = TRUE, daily = TRUE))
    )
  })
})

test_that("an error of the user's own in an argument stays the user's", {
  condition <- tryCatch(step(flow(), step = "x", retry(times = stop("mine"))), error = function(e) e)
  expect_identical(conditionMessage(condition), "mine")
  made <- function(n) stop("no ", n)
  expect_error(step(flow(), step = "x", r_function = made(3)), "no 3")
})

test_that("wrong parameters are explained", {
  f <- flow()
  expect_snapshot({
    refused(
      parameter(f), parameter(f, c("a", "b")), parameter(5, "a"), parameter(f, "a", defalt = 1), parameter(f, "a", 5),
      parameter(f, "a", TRUE, "help", ",", 1, "int", FALSE, "more"), parameter(f, "a", required = NA), parameter(f, "a", help = 5),
      parameter(f, "a", separator = ""), parameter(f, "a", default = NA), parameter(f, "a", default = c("x", NA)),
      parameter(f, "a", type = "it"), parameter(f, "a", default = mtcars), parameter(f, "a", default = "x", type = "int"),
      parameter(f, "a", default = 1.5, type = "int"), parameter(f, "a", default = 1:2, type = "float"),
      parameter(f, "a", default = 5, type = "str"), parameter(f, "a", default = "yes", type = "bool"),
      parameter(f, "a", default = 5, separator = ","), parameter(f, "a", default = 5, type = include_file()),
      parameter(f, "a", default = function(x, y) 1), parameter(f, "a", is_flag = "x"), parameter(f, "a", is_flag = TRUE, type = "int"),
      parameter(f, "a", is_flag = TRUE, default = 5), parameter(parameter(f, "a"), "a"), include_file(5)
    )
  })
})

test_that("wrong flows and runs are explained", {
  f <- flow() |> parameter("alpha", default = 0.5)
  expect_snapshot({
    refused(
      metaflow(), metaflow(5), metaflow(c("a", "b")), metaflow(nmae = "G"), metaflow("G", 5), run(), run(1), run(f, 5),
      run(f, step_fucntions = "create", authorize = "TOKEN"), run(f, tgas = "a"), run(f, alhpa = 1), run(f, max_workers = NA),
      run(f, alpha = NA), run(f, alpha = NA_real_), rows_of(5), gather_inputs(1, "x"), merge_artifacts(1, 2), current(5)
    )
  })
})

test_that("the right spelling is accepted", {
  greet <- function(self) 1
  expect_identical(step(flow(), step = "x", r_function = "greet")$steps[[3L]]$r_function, greet)
  expect_identical(format(retry()), "@retry(times = 3L, minutes_between_retries = 2L)")
  expect_identical(format(catch()), "@catch(print_exception = TRUE)")
  expect_s3_class(parameter(flow(), "p", type = include_file, default = "a.txt"), "metaflow_flow")
  expect_s3_class(parameter(flow(), "p", default = list(a = 1, b = "x")), "metaflow_flow")
  expect_s3_class(parameter(flow(), "p", type = "int", default = 2^40), "metaflow_flow")
  fit <- lm(mpg ~ wt + hp, mtcars)
  expect_identical(step(fit, trace = 0), stats::step(fit, trace = 0))
})

test_that("a flow prints as what it does", {
  shown <- metaflow("ShownFlow") |>
    parameter("alpha", default = 0.5) |>
    parameter("who", required = TRUE) |>
    parameter("when", default = function() date()) |>
    step(step = "start", next_step = c("a", "b"), retry(times = 2)) |>
    step(step = "a", foreach = "xs", next_step = "each") |>
    step(step = "each", next_step = "gathered") |>
    step(step = "gathered", join = TRUE, condition = "more", next_step = c(yes = "gathered", no = "both")) |>
    step(step = "b", next_step = "both") |>
    step(step = "both", join = TRUE, next_step = "end") |>
    step(step = "end")
  expect_snapshot(print(shown))
  expect_snapshot(print(retry(times = 2)))
})
