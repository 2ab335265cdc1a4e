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
  extra <- list(...)
  if (length(extra)) {
    stop_metaflow(
      if (is.null(names(extra)) || !nzchar(names(extra)[[1L]])) {
        paste0("parameter() takes its arguments by name. It was given ", show_value(extra[[1L]]), ".")
      } else {
        unknown_argument("parameter()", names(extra)[[1L]])
      },
      class = "metaflow_invalid_argument"
    )
  }
  check_flow(flow, "parameter()")
  if (missing(parameter) || !is_string(parameter)) {
    stop_metaflow("A parameter is named by one text: parameter(\"alpha\", default = 0.5).", class = "metaflow_invalid_argument")
  }
  refuse <- function(...) stop_metaflow(paste0("Parameter \"", parameter, "\": ", ...), class = "metaflow_invalid_argument")
  if (parameter %in% vapply(flow$parameters, function(p) p$name, "")) refuse("the flow has a parameter of this name already.")
  for (argument in c("required", "is_flag")) {
    value <- get(argument)
    if (!isTRUE(value) && !isFALSE(value)) refuse(argument, " must be TRUE or FALSE, not ", show_value(value), ".")
  }
  for (argument in c("help", "separator")) {
    value <- get(argument)
    if (!is.null(value) && !(is_string(value) && nzchar(value))) refuse(argument, " must be a text, not ", show_value(value), ".")
  }
  options <- list()
  if (identical(type, include_file)) type <- include_file()
  if (inherits(type, "metaflow_include_file")) {
    options <- unclass(type)
    type <- "file"
  }
  types <- c("int", "integer", "float", "double", "numeric", "bool", "logical", "str", "character", "json", "file")
  if (!is.null(type) && !(is_string(type) && type %in% types)) {
    known <- paste0("\"", types[c(1, 3, 4, 6, 8, 10)], "\"", collapse = ", ")
    refuse("there is no type ", show_value(type), ". Use one of ", known, " or include_file().")
  }
  kind <- if (is.null(type)) NULL else switch(type,
    integer = "int", double = , numeric = "float", logical = "bool", character = "str", type
  )
  if (is_flag && !is.null(kind) && kind != "bool") refuse("a flag is TRUE or FALSE, so it can't have type = \"", type, "\".")
  if (is_flag) kind <- "bool"
  if (is_flag && is.null(default)) default <- FALSE
  problem <- default_problem(default, kind, separator)
  if (nzchar(problem)) refuse(problem)
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
  if (!isTRUE(is_text) && !isFALSE(is_text)) {
    stop_metaflow(
      paste0("include_file(): is_text must be TRUE or FALSE, not ", show_value(is_text), "."),
      class = "metaflow_invalid_argument"
    )
  }
  structure(list(is_text = is_text, encoding = encoding), class = "metaflow_include_file")
}

check_flow <- function(flow, where) {
  if (!inherits(flow, "metaflow_flow")) {
    stop_metaflow(
      paste0(
        where, " goes with a flow: metaflow(\"HelloFlow\") |> ", where, ".",
        if (!is.null(flow)) paste0(" It was given ", show_value(flow), ".")
      ),
      class = "metaflow_invalid_argument"
    )
  }
}

# Why a default can't be one; "" when it can.
default_problem <- function(default, kind, separator) {
  if (is.null(default)) return("")
  if (is.function(default)) {
    needed <- vapply(formals(args(default)), function(one) is.name(one) && !nzchar(one), NA)
    if (sum(needed) > 1L) return("the function that computes its default takes one argument, or none.")
    return("")
  }
  if (length(default) && anyNA(unlist(default))) {
    return("NA can't be a default. Leave the default out, or make the parameter required.")
  }
  single <- length(default) == 1L && !is.list(default)
  wanted <- if (!is.null(separator)) {
    if (!is.character(default)) "text"
  } else if (is.null(kind)) {
    if (is.object(default) || !(is.atomic(default) || is.list(default))) "text, a number, TRUE, FALSE, a list, or a function"
  } else {
    switch(kind,
      int = if (!(single && is.numeric(default) && default == round(default))) "a whole number",
      float = if (!(single && is.numeric(default))) "a number",
      bool = if (!(single && is.logical(default))) "TRUE or FALSE",
      str = if (!(single && is.character(default))) "text",
      file = if (!(single && is.character(default))) "the path of a file"
    )
  }
  if (is.null(wanted)) "" else paste0("its default must be ", wanted, ", not ", show_value(default), ".")
}

# Calls the function that computes a default.
call_default <- function(f, context) {
  value <- if (length(formals(args(f))) == 0L) f() else f(context)
  if (is.atomic(value) && anyNA(value)) stop("it returned NA", call. = FALSE)
  value
}
