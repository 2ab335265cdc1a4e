#' Add a parameter to a flow
#'
#' Every step sees the value as `self$<parameter>`. It is given on the command line (`run --alpha 0.6`) or to [run()]
#' (`run(alpha = 0.6)`).
#'
#' @param flow A flow, from [metaflow()].
#' @param parameter Name of the parameter.
#' @param required Whether a run needs a value.
#' @param help What `--help` says about it.
#' @param separator Splits a text into a character vector: `","` makes `"a,b"` two texts.
#' @param default Value when none is given. A function is called once for each run, with a list of `flow_name`,
#'   `user_name` and `parameter_name`, if it takes an argument.
#' @param type `"int"`, `"float"`, `"double"`, `"bool"`, `"str"`, `"json"`, or [include_file()]; by default that of
#'   `default`.
#' @param is_flag Whether the value is `TRUE` or `FALSE`, and `FALSE` by default.
#' @param ... Nothing: a misspelt argument is an error that suggests the right one.
#' @return The flow with the parameter added.
#' @examples
#' metaflow("ParameterFlow") |>
#'   parameter("alpha", help = "learning rate", default = 0.01) |>
#'   step(step = "start", r_function = function(self) print(self$alpha), next_step = "end") |>
#'   step(step = "end")
#' @export
parameter <- function(flow, parameter, required = FALSE, help = NULL, separator = NULL, default = NULL, type = NULL,
                      is_flag = FALSE, ...) {
  extra <- names(list(...))
  if (...length() > 0L) {
    stop_metaflow(
      unknown_argument("parameter()", if (is.null(extra)) show_value(..1) else extra[[1L]]),
      class = "metaflow_invalid_argument"
    )
  }
  check_flow(flow, "parameter()")
  if (missing(parameter) || !is_string(parameter)) {
    stop_metaflow("A parameter is named by one text: parameter(\"alpha\", default = 0.5).", class = "metaflow_invalid_argument")
  }
  refuse <- function(...) stop_metaflow(paste0("Parameter \"", parameter, "\": ", ...), class = "metaflow_invalid_argument")
  if (!is.function(default) && length(default) && anyNA(unlist(default))) {
    refuse("NA can't be a default. Leave the default out, or make the parameter required.")
  }
  if (!isTRUE(required) && !isFALSE(required)) refuse("required must be TRUE or FALSE, not ", show_value(required), ".")
  options <- list()
  if (inherits(type, "metaflow_include_file")) {
    options <- unclass(type)
    type <- "file"
  }
  types <- c("int", "integer", "float", "double", "numeric", "bool", "logical", "str", "character", "json", "file")
  if (!is.null(type) && !(is_string(type) && type %in% types)) {
    refuse("there is no type ", show_value(type), ". Use one of ", paste0("\"", types[c(1, 3, 4, 6, 8, 10)], "\"", collapse = ", "), " or include_file().")
  }
  kind <- if (isTRUE(is_flag)) "bool" else if (is.null(type)) NULL else switch(type,
    integer = "int", double = , numeric = "float", logical = "bool", character = "str", type
  )
  if (isTRUE(is_flag) && is.null(default)) default <- FALSE
  flow$parameters <- c(flow$parameters, list(list(
    name = parameter, required = required, help = help, separator = separator, default = default, type = kind,
    options = options
  )))
  flow
}

#' A parameter that is the content of a file
#'
#' @param is_text Whether the content is text; otherwise it is raw bytes.
#' @param encoding Encoding of the text.
#' @return A value for the argument `type` of [parameter()]. On the command line such a parameter takes a path.
#' @examples
#' metaflow("FileFlow") |> parameter("data", type = include_file(), default = "data.csv")
#' @export
include_file <- function(is_text = TRUE, encoding = "utf-8") {
  structure(list(is_text = is_text, encoding = encoding), class = "metaflow_include_file")
}

check_flow <- function(flow, where) {
  if (!inherits(flow, "metaflow_flow")) {
    stop_metaflow(
      paste0(where, " goes with a flow: metaflow(\"HelloFlow\") |> ", where, ". It was given ", show_value(flow), "."),
      class = "metaflow_invalid_argument"
    )
  }
}

# Calls the function that computes a default.
call_default <- function(f, context) {
  if (length(formals(args(f))) == 0L) f() else f(context)
}
