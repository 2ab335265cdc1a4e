#' Decorate a step or a flow
#'
#' A decorator changes how a step or a flow runs: `decorator("retry", times = 2)`. Every decorator has a function of its
#' own too, such as [retry()].
#'
#' @param x Name of the decorator.
#' @param ... Its arguments, by name.
#' @return A decorator, to be given to [step()] or [metaflow()].
#' @examples
#' decorator("retry", times = 2)
#' @export
decorator <- function(x, ...) {
  if (missing(x) || !is_string(x)) {
    stop_metaflow("A decorator is named by one text: decorator(\"retry\", times = 2).", class = "metaflow_invalid_argument")
  }
  new_decorator(x, list(...), paste0("decorator(\"", x, "\")"))
}

# `where` is the call as the user wrote it.
new_decorator <- function(name, arguments, where) {
  refuse <- function(...) stop_metaflow(paste0(where, ...), class = "metaflow_invalid_argument")
  names <- names(arguments)
  if (length(arguments) && (is.null(names) || !all(nzchar(names)))) {
    first <- arguments[[if (is.null(names)) 1L else which(!nzchar(names))[[1L]]]]
    if (inherits(first, "metaflow_flow")) {
      refuse(
        " decorates, it adds nothing to a flow by itself: give it to metaflow(), as in ",
        "metaflow(\"Flow\", schedule(daily = TRUE)), or to step(), as in step(retry(times = 2), step = \"start\")."
      )
    }
    refuse(" takes its arguments by name, as in retry(times = 2). It was given ", show_value(first), ".")
  }
  if (anyDuplicated(names)) refuse(" is given the argument `", names[anyDuplicated(names)], "` twice.")
  for (one in names) {
    if (is.atomic(arguments[[one]]) && anyNA(arguments[[one]])) refuse(": `", one, "` is NA. Leave it out, or give it a value.")
  }
  structure(list(name = name, arguments = arguments), class = "metaflow_decorator")
}

#' @export
format.metaflow_decorator <- function(x, ...) {
  if (x$name == "secrets") x$arguments$sources <- shown_sources(x$arguments$sources)
  arguments <- vapply(x$arguments, function(value) {
    if (inherits(value, "metaflow_config_expr")) return(format(value))
    if (is.list(value) && length(value) && all(vapply(value, is.function, NA))) value <- lapply(value, function_name)
    paste(deparse(value, nlines = 1L), collapse = "")
  }, "")
  paste0("@", x$name, if (length(arguments)) paste0("(", paste(names(arguments), "=", arguments, collapse = ", "), ")"))
}

#' @export
print.metaflow_decorator <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

# The decorator that the calling function makes of its arguments, without those that are NULL. Its name is not always the
# function's. What has no name, or a name that is none of theirs, is in `other`.
decorate <- function(decorator_name, other, ...) {
  arguments <- list(...)
  if (length(other)) {
    names <- names(other)
    if (!is.null(names) && nzchar(names[[1L]])) {
      stop_metaflow(unknown_argument(paste0(decorator_name, "()"), names[[1L]], names(arguments)), class = "metaflow_invalid_argument")
    }
    new_decorator(decorator_name, unname(other), paste0(decorator_name, "()"))
  }
  new_decorator(decorator_name, arguments[!vapply(arguments, is.null, TRUE)], paste0(decorator_name, "()"))
}

# The decorators among the arguments of a call. R itself refuses an argument that is given twice, before the function that
# makes the decorator is called, so that is explained here.
decorators_in <- function(...) {
  tryCatch(list(...), simpleError = function(e) {
    call <- conditionCall(e)
    maker <- if (is.call(call)) deparse(call[[1L]], nlines = 1L) else ""
    names <- setdiff(names(call), "")
    twice <- names(call)[duplicated(names(call)) & names(call) %in% names]
    if (length(twice) && sub("^metaflow::", "", maker) %in% getNamespaceExports(topenv())) given_twice(maker, twice[[1L]])
    stop(e)
  })
}

given_twice <- function(name, argument) {
  stop_metaflow(paste0(name, "() is given the argument `", argument, "` twice."), class = "metaflow_invalid_argument")
}
