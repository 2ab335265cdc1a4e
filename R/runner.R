#' Run a flow file
#'
#' Runs a flow that is in a file, in R or in Python, from a session, a script or a notebook. It runs in a process of its
#' own, with the arguments of its command line, and gives back its run.
#'
#' @param flow_file The file with the flow, which ends in `.R` or `.py`. A relative one is looked for in `cwd`.
#' @param show_output Whether to show what the flow prints, as it comes.
#' @param profile Name of a profile of the settings, as in `METAFLOW_PROFILE`.
#' @param env Environment variables of the flow, beside those of the session: a named vector or list of texts.
#' @param cwd The directory in which the flow runs.
#' @param ... Options of the command line that stand before the command, in snake case, such as `metadata = "local"` or
#'   `config = list(cfg = "other.json")`.
#' @return A list of two functions, which both return when the run has ended:
#'   - `run(...)` runs the flow. Its arguments are the parameters of the flow and options of the command: `tags`,
#'     `max_workers`, `max_num_splits`, `with`, ... A vector of several elements, or a list, is given as JSON.
#'   - `resume(step_to_rerun = NULL, ...)` resumes the run `origin_run_id`, an id or a [run][run_client], by default the
#'     latest one, from a step, by default from where it failed.
#'
#'   What they return has `run`, the [run][run_client]; `status`, `"successful"` or `"failed"`; `stdout` and `stderr`, what
#'   was printed, as one text each; and `returncode`, the exit status. A run that fails is no error. Where nothing could
#'   be run, because a parameter is unknown, missing or wrong, the error is of class `metaflow_usage`.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' writeLines(
#'   con = "train.py",
#'   c(
#'     "from metaflow import FlowSpec, Parameter, step",
#'     "class TrainFlow(FlowSpec):",
#'     "    alpha = Parameter('alpha', default=0.5)",
#'     "    @step",
#'     "    def start(self):",
#'     "        self.beta = self.alpha * 2",
#'     "        self.next(self.end)",
#'     "    @step",
#'     "    def end(self):",
#'     "        pass",
#'     "if __name__ == '__main__':",
#'     "    TrainFlow()"
#'   )
#' )
#' made <- runner("train.py", show_output = FALSE)$run(alpha = 0.7, tags = c("nightly", "small"))
#' made$status
#' made$run$data$beta
#' setwd(old)
#' }
#' @export
runner <- function(flow_file, show_output = TRUE, profile = NULL, env = NULL, cwd = NULL, ...) {
  if (missing(flow_file) || !is_string(flow_file)) {
    stop_metaflow(
      paste0("runner(\"flow.R\") takes the name of a flow file", if (!missing(flow_file)) paste0(", not ", show_value(flow_file)), "."),
      class = "metaflow_invalid_argument"
    )
  }
  if (!isTRUE(show_output) && !isFALSE(show_output)) {
    stop_metaflow(
      paste0("runner(): show_output is TRUE or FALSE, not ", show_value(show_output), "."),
      class = "metaflow_invalid_argument"
    )
  }
  cwd <- normalizePath(if (is.null(cwd)) getwd() else cwd, mustWork = FALSE)
  file <- path.expand(flow_file)
  if (!startsWith(file, "/")) file <- file.path(cwd, file)
  if (!file.exists(file)) {
    stop_metaflow(paste0("There is no flow file \"", flow_file, "\" in ", cwd, "."), class = "metaflow_command")
  }
  env <- c(runner_environment(env), if (!is.null(profile)) c(METAFLOW_PROFILE = profile))
  before <- words_of(list(...), "runner()", command = "")$before
  start <- function(words, given) {
    where <- paste0(words[[1L]], "()")
    run_file(file, show_output, env, cwd, before, words, words_of(given, where, command = words[[1L]])$after)
  }
  structure(
    list(
      run = function(...) start("run", list(...)),
      resume = function(step_to_rerun = NULL, ...) {
        if (!is.null(step_to_rerun) && !is_string(step_to_rerun)) {
          stop_metaflow(
            paste0("resume() takes the name of a step first, not ", show_value(step_to_rerun), "."),
            class = "metaflow_invalid_argument"
          )
        }
        start(c("resume", step_to_rerun), list(...))
      }
    ),
    class = "metaflow_runner",
    file = flow_file
  )
}

#' @export
format.metaflow_runner <- function(x, ...) paste0("<runner of ", attr(x, "file"), ": $run(...), $resume(...)>")

#' @export
print.metaflow_runner <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

runner_environment <- function(env) {
  env <- unlist(as.list(env))
  if (length(env) && (is.null(names(env)) || !all(nzchar(names(env))) || anyNA(env))) {
    stop_metaflow(
      "runner(): env takes environment variables by name, as in c(DEBUG = \"1\").",
      class = "metaflow_invalid_argument"
    )
  }
  vapply(env, as.character, "")
}

run_file <- function(file, show, env, cwd, before, words, after) {
  sync_environment()
  variables <- Sys.getenv()
  variables[["R_LIBS"]] <- paste(.libPaths(), collapse = .Platform$path.sep)
  variables[names(env)] <- env
  rscript <- file.path(R.home("bin"), "Rscript")
  number <- call_core("runner_start", file, rscript, cwd, before, words, after, names(variables), as.character(variables))
  on.exit(call_core("runner_close", number))
  repeat {
    news <- call_core("runner_follow", number)
    if (show) {
      cat(news[[2L]])
      cat(news[[3L]], file = stderr())
      utils::flush.console()
    }
    if (news[[1L]]) break
    Sys.sleep(0.02)
  }
  structure(call_core("runner_ended", number), class = "metaflow_executed")
}

#' @export
`$.metaflow_executed` <- function(x, name) {
  known <- c("run", "status", "stdout", "stderr", "returncode")
  if (name == "run") {
    pathspec <- .subset2(x, "pathspec")
    if (nzchar(pathspec)) return(run_object(pathspec))
    lines <- trimws(strsplit(.subset2(x, "stderr"), "\n", fixed = TRUE)[[1L]])
    why <- utils::tail(lines[nzchar(lines)], 1L)
    stop_metaflow(paste0("There is no run: ", if (length(why)) why else "see its output."), class = "metaflow_not_found")
  }
  if (!name %in% known) {
    stop_metaflow(paste0("A run of runner() has no `", name, "`. ", suggest(name, known)), class = "metaflow_unknown_member")
  }
  .subset2(x, name)
}

#' @export
`[[.metaflow_executed` <- function(x, i) {
  if (is_string(i)) `$.metaflow_executed`(x, i) else .subset2(x, i)
}

#' @export
.DollarNames.metaflow_executed <- function(x, pattern = "") {
  grep(pattern, c("run", "status", "stdout", "stderr", "returncode"), value = TRUE)
}

#' @export
format.metaflow_executed <- function(x, ...) {
  pathspec <- .subset2(x, "pathspec")
  paste0("<", if (nzchar(pathspec)) pathspec else "no run", ": ", .subset2(x, "status"), ", exit status ", .subset2(x, "returncode"), ">")
}

#' @export
print.metaflow_executed <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}
