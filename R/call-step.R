#' Call a step of a flow
#'
#' Calls the function of one step with what it is given, here and now: for tests of it. Nothing is stored or looked up.
#'
#' Decorators do not act. Errors of the step are raised as they are, warnings and messages when it is over. Random numbers
#' are those of the session.
#'
#' @param flow A flow, from [metaflow()].
#' @param step Name of a step.
#' @param ... What the step finds on `self`, by name: artifacts, and parameters and configs as the step sees them.
#'   Parameters and configs that are not given have their defaults, `NULL` without one.
#' @param inputs For a join a list with one list of artifacts for each branch, which may have the names of the steps that
#'   lead to the join. Results of this function will do. In such a list `input` and `index` are those of the branch.
#' @param input,index In a foreach the element of this task, and its place, from 0.
#' @return A list of the artifacts that the step has set or taken over from the inputs. `$next_step` are the names of the
#'   steps that follow, of a condition the one that was chosen, and `$num_splits` the number of tasks of a foreach.
#'   Before the step is called, the error `metaflow_usage` says that there is no such step or that it can't be given this.
#' @examples
#' \donttest{
#' flow <- metaflow("TrainFlow") |>
#'   parameter("alpha", default = 0.5) |>
#'   step(step = "start", next_step = "train") |>
#'   step(step = "train", r_function = function(self) self$model <- self$rows * self$alpha, next_step = "end") |>
#'   step(step = "end")
#' result <- call_step(flow, "train", rows = c(1, 2), alpha = 0.1)
#' result$model
#' result$next_step
#' }
#' @export
call_step <- function(flow, step, ..., inputs = NULL, input = NULL, index = NULL) {
  check_flow(if (missing(flow)) NULL else flow, "call_step()")
  if (missing(step) || !is_string(step)) refuse_call("the name of a step", if (!missing(step)) step)
  artifacts <- list(...)
  if (length(artifacts) && (is.null(names(artifacts)) || !all(nzchar(names(artifacts))))) {
    refuse_call("artifacts by name", artifacts[[match(TRUE, !nzchar(c(names(artifacts), "")))]])
  }
  if (!is.null(index) && !(is.numeric(index) && length(index) == 1L && !is.na(index))) {
    refuse_call("a number as index", index)
  }
  if (!is.null(inputs)) {
    known <- is.list(inputs) && all(vapply(inputs, function(one) is.list(one) && (!length(one) || !is.null(names(one))), NA))
    if (!known) refuse_call("inputs as a list with one list of named artifacts for each branch", inputs)
    inputs <- lapply(inputs, unclass)
  }
  sync_environment()
  the$trial <- TRUE
  the$raised <- the$told <- NULL
  on.exit({
    the$trial <- FALSE
    the$raised <- the$told <- NULL
  })
  result <- tryCatch(
    call_core("call_step", flow_data(flow), step, artifacts, inputs, input, as.integer(index)),
    error = function(e) if (is.null(the$raised)) e else the$raised
  )
  for (told in the$told) if (inherits(told, "message")) message(told) else warning(told)
  if (inherits(result, "error")) stop(result)
  structure(result$artifacts, class = "metaflow_called", next_step = result$next_step, num_splits = result$num_splits)
}

refuse_call <- function(wanted, value) {
  stop_metaflow(
    paste0("call_step(flow, \"train\", rows = 1:3) takes ", wanted, if (!is.null(value)) paste0(", not ", show_value(value)), "."),
    class = "metaflow_invalid_argument"
  )
}

#' @export
`$.metaflow_called` <- function(x, name) {
  if (name %in% names(x)) return(unclass(x)[[name]])
  if (name %in% c("next_step", "num_splits")) return(attr(x, name))
  stop_metaflow(
    paste0("The step has not set `", name, "`. ", suggest(name, c(names(x), "next_step"))),
    class = "metaflow_unknown_member"
  )
}

#' @export
`[[.metaflow_called` <- function(x, i) if (is_string(i)) `$.metaflow_called`(x, i) else unclass(x)[[i]]

#' @export
print.metaflow_called <- function(x, ...) {
  next_step <- attr(x, "next_step")
  cli::cat_line("<a step that was called; next_step: ", if (length(next_step)) paste(next_step, collapse = ", ") else "none", ">")
  print(unclass(x)[names(x)])
  invisible(x)
}
