#' Run a flow
#'
#' In a script, `Rscript flow.R COMMAND ...` carries out any command of the command line: `run`, `resume`, `show`,
#' `check`, `logs`, `dump`, `tag`, ...; arguments of the command line win over those given here. In a session, `run()`
#' runs the flow and shows its lines.
#'
#' @param flow A flow, from [metaflow()].
#' @param ... Parameters of the flow, and options of the command line in snake case: `tag`, `max_workers`,
#'   `max_num_splits`, `json_log`, `with`, `namespace` (`NULL` is the global one), `package_code` (see [run_code]),
#'   `config` and `config_value` (see [config()]), ...
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
  given <- words_of(list(...), "run()", flow$parameters, open = has_mutators(flow))
  if (is_script()) {
    return(finish_script(execute(flow, given, commandArgs(trailingOnly = TRUE), script_program())))
  }
  variable <- substitute(flow)
  # What is typed to go on from it; magrittr's pipe calls what it passes on a dot.
  variable <- if (is.name(variable) && variable != ".") deparse(variable, backtick = TRUE) else "flow"
  if (in_interactive_host()) return(finish(flow, run_in_child(flow, given, variable)))
  finish(flow, execute(flow, given, NULL, script_program(), variable))
}

execute <- function(flow, given, command_line, program, variable = "flow", passed_on = FALSE) {
  variables <- environment_of_metaflow()
  call_core(
    "execute", flow_data(flow), program, given$before, given$command, given$after, command_line,
    names(variables), unname(variables), variable, passed_on
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
