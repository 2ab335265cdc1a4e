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
#' @return A list of functions. Those that begin with `async_` return at once, so that several flows can run at a time, the
#'   others when all is done:
#'   - `run(...)`, `async_run(...)` run the flow. Arguments are the parameters of the flow and options of the command:
#'     `tags`, `max_workers`, `max_num_splits`, `with`, ... A vector of several elements, or a list, is given as JSON.
#'   - `resume(step_to_rerun = NULL, ...)`, `async_resume(...)` resume the run `origin_run_id`, an id or a
#'     [run][run_client], by default the latest one, from a step, by default from where it failed.
#'   - `spin(pathspec, ...)`, `async_spin(...)` run one step alone on the inputs of an earlier run: `"train"`, `"5/train"`,
#'     `"5/train/12"`. `artifacts_module` is a file with `ARTIFACTS <- list(...)`, which the step gets instead of its
#'     inputs; `skip_decorators`, `with` and `persist` (see [inspect_spin()]) are as on the command line.
#'
#'   What they return has
#'   - `run`, the [run][run_client], and after `spin()` instead of it `task`, the [task][task_client], which has the
#'     artifacts of the step for as long as this object is there;
#'   - `status`: `"running"`, `"successful"`, `"failed"`, or `"timeout"` when `wait()` gave up; `returncode`, the exit status,
#'     `NULL` while it runs;
#'   - `stdout` and `stderr`: what was printed so far, as one text each;
#'   - `wait(timeout = Inf, stream = NULL)`: wait for its end, at most so many seconds, and show the lines of `"stdout"` or
#'     `"stderr"` meanwhile;
#'   - `stream_log(stream, callback)`: call a function with each line of `"stdout"` or `"stderr"` as it comes, until the end,
#'     or until the function returns `FALSE`; returns the lines;
#'   - `kill()`: stop it, as an interrupt does.
#'
#'   A run that fails is no error. Where nothing could be run, because a parameter is unknown, missing or wrong, the error
#'   is of class `metaflow_usage`. What still runs when nothing refers to it any more, or when the session ends, is stopped.
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
#'
#' both <- lapply(c(0.1, 0.2), function(alpha) runner("train.py", show_output = FALSE)$async_run(alpha = alpha))
#' for (one in both) one$wait()$run$data$beta
#' setwd(old)
#' }
#' @export
runner <- function(flow_file, show_output = TRUE, profile = NULL, env = NULL, cwd = NULL, ...) {
  place <- flow_place("runner", if (!missing(flow_file)) flow_file, show_output, profile, env, cwd, list(...))
  start <- function(words, given, wait) {
    where <- paste0(words[[1L]], "()")
    after <- words_of(given, where, command = words[[1L]])$after
    executed <- start_file(place$file, place$env, place$cwd, place$before, words, after)
    if (wait) finish_executed(executed, show_output) else if (!executed$spun) await_id(executed)
    new_executed(executed)
  }
  resume <- function(step, given, wait) {
    if (!is.null(step) && !is_string(step)) {
      stop_metaflow(
        paste0("resume() takes the name of a step first, not ", show_value(step), "."),
        class = "metaflow_invalid_argument"
      )
    }
    start(c("resume", step), given, wait)
  }
  spin <- function(place, given, wait) {
    if (inherits(place, "metaflow_object")) place <- place$pathspec
    if (!is_string(place)) {
      stop_metaflow(
        paste0("spin() takes the name of a step, or a pathspec such as \"5/train\", not ", show_value(place), "."),
        class = "metaflow_invalid_argument"
      )
    }
    start(c("spin", place), given, wait)
  }
  structure(
    list(
      run = function(...) start("run", list(...), TRUE),
      async_run = function(...) start("run", list(...), FALSE),
      resume = function(step_to_rerun = NULL, ...) resume(step_to_rerun, list(...), TRUE),
      async_resume = function(step_to_rerun = NULL, ...) resume(step_to_rerun, list(...), FALSE),
      spin = function(pathspec = NULL, ...) spin(pathspec, list(...), TRUE),
      async_spin = function(pathspec = NULL, ...) spin(pathspec, list(...), FALSE)
    ),
    class = "metaflow_runner",
    file = flow_file
  )
}

#' @export
format.metaflow_runner <- function(x, ...) {
  paste0("<runner of ", attr(x, "file"), ": ", paste0("$", c("run", "resume", "spin"), "(...)", collapse = ", "), ">")
}

#' @export
print.metaflow_runner <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

# Where a flow file runs, how, and with which words before the command: the arguments of runner() and deployer().
flow_place <- function(name, flow_file, show_output, profile, env, cwd, options) {
  if (!is_string(flow_file)) {
    stop_metaflow(
      paste0(name, "(\"flow.R\") takes the name of a flow file", if (!is.null(flow_file)) paste0(", not ", show_value(flow_file)), "."),
      class = "metaflow_invalid_argument"
    )
  }
  if (!isTRUE(show_output) && !isFALSE(show_output)) {
    stop_metaflow(
      paste0(name, "(): show_output is TRUE or FALSE, not ", show_value(show_output), "."),
      class = "metaflow_invalid_argument"
    )
  }
  cwd <- normalizePath(if (is.null(cwd)) getwd() else cwd, mustWork = FALSE)
  file <- path.expand(flow_file)
  if (!startsWith(file, "/")) file <- file.path(cwd, file)
  if (!file.exists(file)) {
    stop_metaflow(paste0("There is no flow file \"", flow_file, "\" in ", cwd, "."), class = "metaflow_command")
  }
  env <- c(runner_environment(env, name), if (!is.null(profile)) c(METAFLOW_PROFILE = profile))
  before <- words_of(options, paste0(name, "()"), command = "")$before
  list(file = file, show = show_output, env = env, cwd = cwd, before = before)
}

runner_environment <- function(env, name) {
  env <- unlist(as.list(env))
  if (length(env) && (is.null(names(env)) || !all(nzchar(names(env))) || anyNA(env))) {
    stop_metaflow(
      paste0(name, "(): env takes environment variables by name, as in c(DEBUG = \"1\")."),
      class = "metaflow_invalid_argument"
    )
  }
  vapply(env, as.character, "")
}
