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
  arguments <- list(...)
  names <- names(arguments)
  if (length(arguments) && (is.null(names) || !all(nzchar(names)))) {
    stop_metaflow(
      paste0("The arguments of ", x, "() need names, such as decorator(\"retry\", times = 2)."),
      class = "metaflow_invalid_argument"
    )
  }
  if (anyDuplicated(names)) {
    stop_metaflow(
      paste0("The argument `", names[anyDuplicated(names)], "` of ", x, "() is given twice."),
      class = "metaflow_invalid_argument"
    )
  }
  structure(list(name = x, arguments = arguments), class = "metaflow_decorator")
}

#' @export
format.metaflow_decorator <- function(x, ...) {
  arguments <- vapply(x$arguments, function(value) paste(deparse(value, nlines = 1L), collapse = ""), "")
  paste0("@", x$name, if (length(arguments)) paste0("(", paste(names(arguments), "=", arguments, collapse = ", "), ")"))
}

#' @export
print.metaflow_decorator <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}

# A decorator of the arguments that were given, without those that are NULL.
decorate <- function(name, ...) {
  arguments <- list(...)
  do.call(decorator, c(list(name), arguments[!vapply(arguments, is.null, TRUE)]))
}
