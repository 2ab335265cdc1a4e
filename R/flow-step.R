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
#' @param next_step Name of the step that follows; several, for branches that run side by side; named, with `condition`:
#'   `c(small = "quick", large = "slow")`. A list of names will do as well.
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
step <- function(object, ...) {
  names <- names(sys.call())
  twice <- names[duplicated(names) & nzchar(names)]
  if (length(twice)) given_twice("step", twice[[1L]])
  UseMethod("step")
}

#' @export
step.default <- function(object, ...) {
  if (missing(object) || is.atomic(object) || "step" %in% names(list(...))) check_flow(if (missing(object)) NULL else object, "step()")
  call <- sys.call()
  call[[1L]] <- quote(stats::step)
  eval(call, parent.frame())
}

#' @rdname step
#' @export
step.metaflow_flow <- function(object, ..., step, r_function = NULL, foreach = NULL, join = FALSE, next_step = NULL,
                               condition = NULL, num_parallel = NULL, py_function = NULL) {
  if (missing(step)) check_decorators(decorators_in(...), "step()") # which may be a misspelt `step`
  if (missing(step) || !is_string(step) || !nzchar(step)) {
    stop_metaflow(
      paste0(
        "A step is named by one text: step(step = \"start\", ...)", if (!missing(step)) paste0(", not by ", show_value(step)), ".",
        if (!missing(step) && is.function(step)) " Write the name in quotes."
      ),
      class = "metaflow_invalid_argument"
    )
  }
  where <- paste0("Step \"", step, "\": ")
  refuse <- function(...) stop_metaflow(paste0(where, ...), class = "metaflow_invalid_argument")
  decorators <- check_decorators(decorators_in(...), "step()")
  if (step %in% vapply(object$steps, function(s) s$name, "")) refuse("the flow has a step of this name already.")
  missing_function <- function(name) {
    known <- ls(globalenv())
    advice <- suggest(name, known[vapply(known, function(one) exists(one, globalenv(), mode = "function"), NA)], only_near = TRUE)
    refuse("there is no function `", name, "`. ", if (nzchar(advice)) advice else "Define it before the flow.")
  }
  written <- as.list(substitute(list(r_function = r_function, next_step = next_step, foreach = foreach, condition = condition)))[-1L]
  for (argument in names(written)) {
    name <- written[[argument]]
    if (!is.name(name) || !nzchar(name) || exists(name, envir = parent.frame())) next
    if (argument == "r_function") missing_function(as.character(name))
    refuse("there is no object `", name, "`. If it is a name, write it in quotes: ", argument, " = \"", name, "\".")
  }
  if (is_string(r_function)) {
    found <- get0(r_function, envir = parent.frame(), mode = "function")
    if (is.null(found)) missing_function(r_function)
    r_function <- found
  }
  if (!is.null(r_function) && !is.function(r_function)) refuse("r_function must be a function, not ", show_value(r_function), ".")
  if (!is.null(r_function) && !is.null(py_function)) refuse("it has r_function and py_function. Choose one.")
  if (!is.null(py_function) && !(is_string(py_function) && grepl("^.+:[^:]+$", py_function))) {
    refuse("py_function must be \"file.py:function\" or \"module:function\", not ", show_value(py_function), ".")
  }
  if (!isTRUE(join) && !isFALSE(join)) refuse("join must be TRUE or FALSE, not ", show_value(join), ".")
  if (is.list(next_step) && length(next_step) && all(vapply(next_step, is_string, NA))) next_step <- unlist(next_step)
  if (!is.null(next_step) && !is.character(next_step) || anyNA(next_step)) {
    refuse(
      "next_step must be the name of a step, or several, not ", show_value(next_step), ".",
      if (is.function(next_step)) " Write the name in quotes."
    )
  }
  for (argument in c("foreach", "condition")) {
    value <- get(argument)
    if (!is.null(value) && !(is_string(value) && nzchar(value))) {
      refuse(
        argument, " must be the name of an artifact, not ", show_value(value), ".",
        if (!is.character(value)) " Set it on self in this step."
      )
    }
  }
  if (!is.null(num_parallel) && !(is.numeric(num_parallel) && length(num_parallel) == 1L && num_parallel %in% round(num_parallel))) {
    refuse("num_parallel must be a whole number, not ", show_value(num_parallel), ".")
  }
  if (!is.null(condition) && (is.null(names(next_step)) || !all(nzchar(names(next_step))))) {
    refuse("with a condition each of the next steps needs a name: next_step = c(small = \"quick\", large = \"slow\").")
  }
  if (is.null(condition) && length(next_step) > 1L && !is.null(names(next_step))) {
    refuse(
      "next_step has names, so it is a choice, which needs the name of an artifact that decides: condition = \"size\". ",
      "For branches that all run, leave the names out."
    )
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
