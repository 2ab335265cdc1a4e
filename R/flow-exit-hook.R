#' Functions to call when a run has ended
#'
#' They are called in a process of their own: those of `on_success` when the run has succeeded, those of `on_error` when
#' it has failed or was interrupted. A function that takes an argument is given the run, a [run_client]. What it prints
#' is shown with the run's lines. An error in it is shown too, and changes nothing for the run or for the other functions.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param on_success,on_error A function, or a list of functions.
#' @return A decorator for [metaflow()].
#' @examples
#' tell <- function(run) cat("The run", run$id, "is", run$status, "\n")
#' metaflow("HelloFlow", exit_hook(on_success = tell, on_error = list(tell, function() cat("Help!\n"))))
#' @export
exit_hook <- function(..., on_success = NULL, on_error = NULL) {
  decorate(
    "exit_hook", list(...),
    on_success = hooks(on_success, substitute(on_success), "on_success"),
    on_error = hooks(on_error, substitute(on_error), "on_error")
  )
}

# The functions as a list. Each carries the name by which the user knows it.
hooks <- function(given, expression, argument) {
  if (is.null(given)) return(NULL)
  functions <- if (is.function(given)) list(given) else given
  ours <- is.list(functions) && all(vapply(functions, is.function, NA))
  if (!ours) {
    stop_metaflow(
      paste0("exit_hook(): `", argument, "` must be a function, or a list of functions, not ", show_value(given), "."),
      class = "metaflow_invalid_argument"
    )
  }
  written <- if (is.function(given)) list(expression) else as.list(expression)[-1L]
  if (length(written) != length(functions)) written <- rep(list(NULL), length(functions))
  unname(Map(labelled, functions, written))
}

labelled <- function(f, expression) {
  if (is.primitive(f)) return(f)
  structure(f, metaflow_label = if (is.name(expression)) as.character(expression) else "function")
}

function_name <- function(f) {
  label <- attr(f, "metaflow_label")
  as.name(if (is.null(label)) "function" else label)
}

# For each argument of a function, by name: whether it has to be given.
needed_arguments <- function(f) {
  formals <- formals(args(f))
  if (length(formals) == 0L) return(logical())
  vapply(formals, function(default) is.name(default) && !nzchar(as.character(default)), NA)
}

# `run` is empty for a function that takes nothing. Warnings are told at once.
call_hook <- function(f, run) {
  old <- options(warn = max(1L, getOption("warn")))
  on.exit(options(old))
  if (length(run)) f(run_object(run)) else f()
}
