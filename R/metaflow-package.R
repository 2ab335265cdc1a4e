#' Flows of data science work in R and Python
#'
#' A flow is a graph of steps. [metaflow()] starts one, [step()] adds a step, [run()] runs it. What a step assigns to
#' `self` is an artifact: it is stored with the run and is there in the steps that follow. Results of earlier runs are
#' found with [flow_client] and its relatives.
#'
#' @examples
#' hello <- metaflow("HelloFlow") |>
#'   step(step = "start", r_function = function(self) self$greeting <- "hello", next_step = "end") |>
#'   step(step = "end", r_function = function(self) print(self$greeting))
#' hello
#' @keywords internal
#' @importFrom magrittr %>%
#' @importFrom utils .DollarNames
#' @name metaflow-package
NULL

#' Pipe operator
#'
#' See \code{magrittr::\link[magrittr:pipe]{\%>\%}} for details.
#'
#' @name %>%
#' @rdname pipe
#' @keywords internal
#' @export
#' @usage lhs \%>\% rhs
#' @param lhs A value.
#' @param rhs A call to which the value becomes the first argument.
#' @return The result of the call.
NULL
