#' Add a step to a flow
#'
#' @param object A flow, from [metaflow()]. Anything else is passed to [stats::step()].
#' @param ... Decorators of the step, such as `retry(times = 2)`.
#' @param step Name of the step: lower-case letters, digits and underscores. A flow begins with `"start"` and ends with
#'   `"end"`.
#' @param r_function The step's code: `function(self)`, or `function(self, inputs)` in a join. What it returns means
#'   nothing. Without it the step does nothing.
#' @param foreach Name of an artifact. The next step runs once for each of its elements (`x[[i]]`), as `self$input`.
#' @param join Whether the step joins branches, or the tasks of a foreach.
#' @param next_step Name of the step that follows; several, for branches that run side by side; named, with `condition`.
#' @param condition Name of an artifact that chooses the next step by its value: one of the names of `next_step`.
#' @param num_parallel How many tasks of the next step run as a gang.
#' @param py_function The step's code in Python: `"file.py:function"` or `"module:function"`. The function is called with
#'   `self`, or `self` and `inputs`.
#' @return The flow with the step added.
#' @examples
#' metaflow("Branches") |>
#'   step(step = "start", next_step = c("a", "b")) |>
#'   step(step = "a", r_function = function(self) self$x <- 1, next_step = "join") |>
#'   step(step = "b", r_function = function(self) self$x <- 2, next_step = "join") |>
#'   step(
#'     step = "join", join = TRUE, next_step = "end",
#'     r_function = function(self, inputs) self$x <- inputs$a$x + inputs$b$x
#'   ) |>
#'   step(step = "end")
#' @export
step <- function(object, ...) UseMethod("step")

#' @export
step.default <- function(object, ...) {
  call <- sys.call()
  call[[1L]] <- quote(stats::step)
  eval(call, parent.frame())
}

#' @rdname step
#' @export
step.metaflow_flow <- function(object, ..., step, r_function = NULL, foreach = NULL, join = FALSE, next_step = NULL,
                               condition = NULL, num_parallel = NULL, py_function = NULL) {
  if (missing(step) || !is_string(step) || !nzchar(step)) {
    stop_metaflow(
      paste0("A step is named by one text: step(step = \"start\", ...)", if (!missing(step)) paste0(", not by ", show_value(step)), "."),
      class = "metaflow_invalid_argument"
    )
  }
  where <- paste0("Step \"", step, "\": ")
  refuse <- function(...) stop_metaflow(paste0(where, ...), class = "metaflow_invalid_argument")
  decorators <- check_decorators(list(...), "step()")
  if (step %in% vapply(object$steps, function(s) s$name, "")) refuse("the flow has a step of this name already.")
  if (is_string(r_function)) r_function <- get(r_function, envir = parent.frame(), mode = "function")
  if (!is.null(r_function) && !is.function(r_function)) refuse("r_function must be a function, not ", show_value(r_function), ".")
  if (!is.null(r_function) && !is.null(py_function)) refuse("it has r_function and py_function. Choose one.")
  if (!is.null(py_function) && !(is_string(py_function) && grepl("^.+:[^:]+$", py_function))) {
    refuse("py_function must be \"file.py:function\" or \"module:function\", not ", show_value(py_function), ".")
  }
  if (!isTRUE(join) && !isFALSE(join)) refuse("join must be TRUE or FALSE, not ", show_value(join), ".")
  if (!is.null(next_step) && !is.character(next_step) || anyNA(next_step)) {
    refuse("next_step must be the name of a step, or several, not ", show_value(next_step), ".")
  }
  for (argument in c("foreach", "condition")) {
    value <- get(argument)
    if (!is.null(value) && !is_string(value)) refuse(argument, " must be the name of an artifact, not ", show_value(value), ".")
  }
  if (!is.null(num_parallel) && !(is.numeric(num_parallel) && length(num_parallel) == 1L && !is.na(num_parallel))) {
    refuse("num_parallel must be a number, not ", show_value(num_parallel), ".")
  }
  if (!is.null(condition) && is.null(names(next_step))) {
    refuse("with a condition the next steps need names: next_step = c(small = \"quick\", large = \"slow\").")
  }
  if (sum(!is.null(foreach), !is.null(condition), !is.null(num_parallel)) > 1L) {
    refuse("foreach, condition and num_parallel can't be combined.")
  }
  problem <- if (is.null(r_function)) "" else arity_problem(r_function, join)
  new <- list(
    name = step,
    r_function = r_function,
    py_function = as.character(py_function),
    join = join,
    next_step = unname(as.character(next_step)),
    foreach = as.character(foreach),
    condition = as.character(condition),
    cases = if (is.null(condition)) character() else names(next_step),
    num_parallel = as.integer(num_parallel),
    decorators = lapply(decorators, unclass),
    problem = if (nzchar(problem)) paste("its function", problem) else ""
  )
  object$steps <- c(object$steps, list(new))
  object
}
