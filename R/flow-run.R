#' Run a flow
#'
#' In a script, `Rscript flow.R COMMAND ...` carries out any command of the command line: `run`, `resume`, `show`,
#' `check`, `logs`, `dump`, `tag`, ...; arguments of the command line win over those given here. In a session, `run()`
#' runs the flow and shows its lines.
#'
#' @param flow A flow, from [metaflow()].
#' @param ... Parameters of the flow, and options of the command line in snake case: `tag`, `max_workers`,
#'   `max_num_splits`, `with`, `namespace` (`NULL` is the global one), `config` and `config_value` (see [config()]), ...
#'   Instead of a run, one of these does something else: `resume` (`TRUE`, or the step to resume from; with
#'   `origin_run_id`, and with `dry_run = TRUE` to be told what would be taken over and what would run), `show = TRUE`,
#'   `check = TRUE`, `help = TRUE`, `logs`, `dump`, `spin`, `step_functions = "create"`, `argo_workflows = "create"`,
#'   `airflow = "create"`.
#' @return The run, as from [run_client], invisibly. A run that fails is an error of class `metaflow_run_failed` in a
#'   session, and exit status 1 of Rscript.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("HelloFlow") |>
#'   parameter("alpha", default = 0.5) |>
#'   step(step = "start", r_function = function(self) self$beta <- self$alpha * 2, next_step = "end") |>
#'   step(step = "end")
#' made <- run(flow, alpha = 0.7, tag = c("a", "b"), max_workers = 2)
#' made$data$beta
#' run(flow, show = TRUE)
#' setwd(old)
#' }
#' @export
run <- function(flow, ...) {
  check_flow(if (missing(flow)) NULL else flow, "run()")
  given <- run_arguments(flow, list(...))
  if (is_script()) {
    return(finish_script(execute(flow, given, commandArgs(trailingOnly = TRUE), script_program())))
  }
  if (in_interactive_host()) return(finish(flow, run_in_child(flow, given)))
  finish(flow, execute(flow, given, NULL, script_program()))
}

execute <- function(flow, given, command_line, program) {
  variables <- environment_of_metaflow()
  call_core(
    "execute", flow_data(flow), program, given$before, given$command, given$after, command_line,
    names(variables), unname(variables)
  )
}

finish_script <- function(result) {
  if (result$code != 0L || !nzchar(result$run)) quit(save = "no", status = result$code, runLast = FALSE)
  invisible(run_object(result$run))
}

finish <- function(flow, result) {
  if (result$code != 0L) {
    stop_metaflow(
      if (nzchar(result$run)) {
        paste0("RunFailed: the run ", result$run, " did not succeed. Once it is mended, run(resume = TRUE) goes on from there.")
      } else {
        paste0("The flow ", flow$name, " was not run; see above.")
      },
      class = "metaflow_run_failed",
      pathspec = result$run,
      exit_code = result$code
    )
  }
  if (!nzchar(result$run)) return(invisible(NULL))
  invisible(run_object(result$run))
}

# Whether this is `Rscript flow.R`, and the flow is run by the script itself rather than by something it sources.
is_script <- function() {
  if (interactive() || is.na(script_file()) || isTRUE(getOption("knitr.in.progress"))) return(FALSE)
  heads <- vapply(sys.calls(), function(call) paste(deparse(call[[1L]], nlines = 1L), collapse = ""), "")
  others <- c(
    "source", "sys.source", "base::source", "test_that", "testthat::test_that", "eval_tidy", "rmarkdown::render",
    "knitr::knit", "local_run"
  )
  !any(heads %in% others)
}

in_interactive_host <- function() {
  interactive() || isTRUE(getOption("knitr.in.progress")) || "IRkernel" %in% loadedNamespaces()
}

script_file <- function() {
  file <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
  if (length(file) == 0L) return(NA_character_)
  # Rscript writes "~+~" for a blank
  normalizePath(gsub("~+~", " ", file[[1L]], fixed = TRUE), mustWork = FALSE)
}

# The command that starts this script again, without its arguments.
script_program <- function() {
  if (length(the$child_program)) return(the$child_program)
  rscript <- file.path(R.home("bin"), "Rscript")
  file <- script_file()
  if (is.na(file)) c(rscript, "flow.R") else c(rscript, file)
}

# --- arguments ---------------------------------------------------------------------------------------------------------

options_before <- c("metadata", "datastore", "datastore_root", "environment", "package_suffixes", "branch", "event_logger", "monitor")
flags_before <- c("quiet", "production", "pylint")
options_of_run <- c("tag", "max_workers", "max_num_splits", "max_log_size", "with", "run_id_file", "namespace")
options_of_resume <- c("origin_run_id", "dry_run")
deployments <- c("step_functions", "argo_workflows", "airflow")
options_of_deployments <- c("authorize", "generate_new_token", "new_token", "given_token")
commands <- c("resume", "show", "check", "help", "version", "logs", "dump", "spin", "package", deployments)

run_arguments <- function(flow, given) {
  names <- names(given)
  parameters <- vapply(flow$parameters, function(p) p$name, "")
  aliases <- gsub("-", "_", parameters, fixed = TRUE)
  known <- c(parameters, options_of_run, commands, options_of_resume, options_before, flags_before, options_of_deployments, "batch")
  known <- c(known, "config", "config_value")
  command <- "run"
  words <- before <- after <- character()
  for (i in seq_along(given)) {
    name <- if (is.null(names)) "" else names[[i]]
    value <- given[[i]]
    if (!nzchar(name)) {
      stop_metaflow(paste0("run() takes its arguments by name. It was given ", show_value(value), "."), class = "metaflow_invalid_argument")
    }
    if (is.null(value)) {
      if (name != "namespace") next
      value <- "" # the global one, as in set_namespace(NULL)
    }
    if (name == "origin_run_id" && inherits(value, "run_client")) value <- value$id
    option <- paste0("--", gsub("_", "-", name, fixed = TRUE))
    if (name %in% parameters || name %in% aliases) {
      parameter <- flow$parameters[[match(name, aliases)]]
      after <- c(after, paste0("--", parameter$name), parameter_text(name, value, parameter))
    } else if (name %in% commands) {
      if (isFALSE(value)) next
      command <- gsub("_", "-", name, fixed = TRUE)
      if (!isTRUE(value)) words <- as.character(unlist(value))
    } else if (name == "batch") {
      if (isTRUE(value)) after <- c(after, "--with", "batch")
    } else if (name %in% c(options_of_run, options_of_resume, options_of_deployments)) {
      after <- c(after, option_texts(option, value, name))
    } else if (name %in% c("config", "config_value")) {
      before <- c(before, config_words(name, value))
    } else if (name %in% flags_before) {
      if (isTRUE(value)) before <- c(before, option)
    } else if (name %in% options_before) {
      before <- c(before, option_texts(option, value, name))
    } else {
      stop_metaflow(unknown_argument("run()", name, known), class = "metaflow_invalid_argument")
    }
  }
  if (command == "help") {
    command <- "run"
    after <- "--help"
  }
  list(before = before, command = command, after = c(words, after))
}

option_texts <- function(option, value, name) {
  if (isTRUE(value)) return(option)
  if (isFALSE(value)) return(character())
  texts <- vapply(unlist(value), number_text, "")
  if (anyNA(unlist(value))) {
    stop_metaflow(paste0("run(): `", name, "` is NA. Leave it out, or give it a value."), class = "metaflow_invalid_argument")
  }
  as.vector(rbind(option, unname(texts)))
}

number_text <- function(x) {
  if (is.numeric(x)) {
    text <- format(x, digits = 15L, trim = TRUE, scientific = FALSE)
    if (as.numeric(text) != x) text <- format(x, digits = 17L, trim = TRUE)
    text
  } else {
    as.character(x)
  }
}

parameter_text <- function(name, value, parameter) {
  if (length(value) && is.atomic(value) && anyNA(value)) {
    stop_metaflow(paste0("Parameter \"", name, "\" is NA. Leave it out, or give it a value."), class = "metaflow_invalid_argument")
  }
  if (is.logical(value) && length(value) == 1L) return(if (value) "True" else "False")
  if (is.atomic(value) && !is.null(parameter$separator)) {
    return(paste(vapply(value, number_text, ""), collapse = parameter$separator))
  }
  if (is.atomic(value) && length(value) == 1L && is.null(names(value))) return(number_text(value))
  call_core("as_json", value)
}
