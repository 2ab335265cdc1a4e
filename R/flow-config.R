#' Add a config to a flow
#'
#' A config is a list that is known before anything of the flow is checked or run: settings in a file, which belong to a
#' place or to a branch rather than to one run. Every step sees it as `self$<name>`. Another file is chosen on the command
#' line, before the command (`--config cfg other.json run`), or by `run(config = list(cfg = "other.json"))`; a value is given
#' by `--config-value cfg '{"a": 1}'` or `run(config_value = list(cfg = list(a = 1)))`. The environment variables
#' `METAFLOW_FLOW_CONFIG` and `METAFLOW_FLOW_CONFIG_VALUE` hold JSON objects with paths and values by the names of configs.
#'
#' Files are JSON, or TOML or YAML when they are called so (`.toml`, `.yaml`, `.yml`). [config_expr()] uses a config in the
#' definition of the flow. A run that is resumed has the configs of its origin.
#'
#' @param flow A flow, from [metaflow()].
#' @param name Name of the config.
#' @param default Path of a file, which is looked for in the working directory, and then beside the script.
#' @param default_value A named list, or a text in JSON, instead of a file.
#' @param help What `--help` says about it.
#' @param required Whether a run needs the config, when it has no default. Otherwise it is `NULL`.
#' @param parser A function of the text of the file that returns a named list, for other formats.
#' @param plain Whether the value may be anything: what the file says, or its text when it has another ending.
#' @param ... Nothing: a misspelt argument is an error that suggests the right one.
#' @return The flow with the config added.
#' @examples
#' metaflow("ConfigFlow") |>
#'   config("cfg", default_value = list(cpu = 2, model = list(rate = 0.1))) |>
#'   parameter("rate", default = config_expr(cfg$model$rate)) |>
#'   step(
#'     step = "start", next_step = "end", resources(cpu = config_expr(cfg$cpu * 2)),
#'     r_function = function(self) print(self$cfg$model)
#'   ) |>
#'   step(step = "end")
#' @export
config <- function(flow, name, default = NULL, default_value = NULL, help = NULL, required = FALSE, parser = NULL,
                   plain = FALSE, ...) {
  invalid <- "metaflow_invalid_argument"
  extra <- list(...)
  if (length(extra)) {
    named <- !is.null(names(extra)) && nzchar(names(extra)[[1L]])
    stop_metaflow(
      if (named) {
        unknown_argument("config()", names(extra)[[1L]])
      } else {
        paste0("config() takes its arguments by name. It was given ", show_value(extra[[1L]]), ".")
      },
      class = invalid
    )
  }
  check_flow(if (missing(flow)) NULL else flow, "config()")
  if (missing(name) || !is_string(name)) {
    stop_metaflow("A config is named by one text: config(\"cfg\", default = \"cfg.json\").", class = invalid)
  }
  refuse <- function(...) stop_metaflow(paste0("Config \"", name, "\": ", ...), class = invalid)
  if (name %in% names_of(flow$configs)) refuse("the flow has a config of this name already.")
  for (argument in c("required", "plain")) {
    value <- get(argument)
    if (!isTRUE(value) && !isFALSE(value)) refuse(argument, " must be TRUE or FALSE, not ", show_value(value), ".")
  }
  if (!is.null(help) && !(is_string(help) && nzchar(help))) refuse("help must be a text, not ", show_value(help), ".")
  if (!is.null(default) && !(is_string(default) && nzchar(default))) {
    refuse("default must be the path of a file, not ", show_value(default), ". For a value use default_value.")
  }
  if (!is.null(default) && !is.null(default_value)) refuse("it has default and default_value. Choose one.")
  if (!is.null(parser) && !is.function(parser) && !is_string(parser)) {
    refuse("parser must be a function of one text, not ", show_value(parser), ".")
  }
  flow$configs <- c(flow$configs, list(list(
    name = name, default = default, default_value = default_value, help = help, required = required, parser = parser,
    plain = plain
  )))
  flow
}

#' A value that is computed from the configs of a flow
#'
#' It stands in the definition of a flow where the configs are not known yet: as an argument of a decorator, or as the
#' default of a parameter. It is computed when the flow is started.
#'
#' @param expression An expression in which every [config()] is there by its name, beside what the script defines; or
#'   the same as a formula (`~ cfg$cpu * 2`) or as a text.
#' @return A function of the list of configs, which metaflow calls.
#' @examples
#' resources(cpu = config_expr(cfg$cpu * 2))
#' parameter(metaflow("ConfigFlow"), "rate", default = config_expr(~ cfg$model$rate))
#' @export
config_expr <- function(expression) {
  if (missing(expression)) {
    stop_metaflow("config_expr() takes an expression: config_expr(cfg$cpu * 2).", class = "metaflow_invalid_argument")
  }
  written <- substitute(expression)
  scope <- parent.frame()
  if (is_string(written)) {
    parsed <- tryCatch(parse(text = written, keep.source = FALSE), error = function(e) NULL)
    if (length(parsed) != 1L) {
      stop_metaflow(
        paste0("config_expr() takes one expression, not ", show_value(written), "."),
        class = "metaflow_invalid_argument"
      )
    }
    written <- parsed[[1L]]
  }
  if (is.call(written) && identical(written[[1L]], as.name("~"))) written <- written[[length(written)]]
  structure(
    function(configs) eval(written, configs, scope),
    class = "metaflow_config_expr",
    source = paste0("config_expr(", one_line(written), ")")
  )
}

#' @export
format.metaflow_config_expr <- function(x, ...) attr(x, "source")

#' @export
print.metaflow_config_expr <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

# Called by Python, with the configs by name.
call_config_expr <- function(f, configs) {
  value <- f(configs)
  if (is.null(value)) {
    keys <- vapply(names(configs), function(name) paste0(name, ": ", paste(names(configs[[name]]), collapse = ", ")), "")
    stop("It is NULL. What the configs have: ", paste(keys, collapse = "; "), ".", call. = FALSE)
  }
  if (is.atomic(value) && anyNA(value)) stop("It is NA.", call. = FALSE)
  value
}

names_of <- function(parts) vapply(parts, function(part) part$name, "")

# The configs of `run(config = list(cfg = "other.json"))`.
config_argument <- function(argument, value, where) {
  if (!length(value) || is.null(names(value)) || !all(nzchar(names(value)))) {
    stop_metaflow(
      paste0(
        where, ": `", argument, "` must name configs: ",
        if (argument == "config") "config = list(cfg = \"other.json\")" else "config_value = list(cfg = list(a = 1))", "."
      ),
      class = "metaflow_invalid_argument"
    )
  }
  value <- as.list(value)
  for (name in names(value)) {
    if (argument == "config" && !is_string(value[[name]])) {
      stop_metaflow(
        paste0(where, ": the path of the config \"", name, "\" must be one text, not ", show_value(value[[name]]), "."),
        class = "metaflow_invalid_argument"
      )
    }
  }
  value
}
