# What runner() has started holds an environment with the number by which Python knows the process, until its end was seen; then
# it has what is to be known, and the process is forgotten. What was tried by spin() is there until it is collected.

start_file <- function(file, env, cwd, before, words, after) {
  sync_environment()
  variables <- Sys.getenv()
  variables[["R_LIBS"]] <- paste(.libPaths(), collapse = .Platform$path.sep)
  variables[names(env)] <- env
  rscript <- file.path(R.home("bin"), "Rscript")
  number <- call_core("runner_start", file, rscript, cwd, before, words, after, names(variables), as.character(variables))
  executed <- new.env(parent = emptyenv())
  executed$number <- number
  executed$process <- Sys.getpid()
  executed$file <- basename(file)
  executed$spun <- words[[1L]] == "spin"
  executed$timed_out <- FALSE
  executed$known <- NULL
  reg.finalizer(executed, close_executed, onexit = TRUE)
  executed
}

new_executed <- function(executed) structure(list(executed = executed), class = "metaflow_executed")

# A fork, such as a task, has a copy of the object, and leaves the process alone.
close_executed <- function(executed) {
  if (identical(executed$process, Sys.getpid())) try(call_core("runner_close", executed$number), silent = TRUE)
}

# What is known of it. Wrong use of the command line is an error.
look_at <- function(executed) {
  if (!is.null(executed$known)) return(executed$known)
  facts <- withCallingHandlers(
    call_core("runner_facts", executed$number),
    metaflow_usage = function(e) close_executed(executed)
  )
  if (is.null(facts$returncode)) return(facts)
  for (stream in c("stdout", "stderr")) facts[[stream]] <- read_stream(executed, stream)[[1L]]
  executed$known <- facts
  if (!executed$spun) close_executed(executed)
  facts
}

read_stream <- function(executed, stream, position = 0) {
  known <- executed$known
  if (is.null(known)) return(call_core("runner_read", executed$number, stream, position))
  bytes <- charToRaw(known[[stream]])
  rest <- rawToChar(bytes[seq_along(bytes) > position])
  Encoding(rest) <- "UTF-8"
  list(rest, length(bytes), TRUE)
}

await_id <- function(executed) {
  repeat {
    facts <- look_at(executed)
    if (nzchar(facts$pathspec) || !is.null(facts$returncode)) return()
    Sys.sleep(poll_seconds)
  }
}

poll_seconds <- 0.02

# Waits for its end, and shows it meanwhile. An interrupt, or an error, ends it.
finish_executed <- function(executed, show) {
  done <- FALSE
  on.exit(if (!done) close_executed(executed))
  follow_executed(executed, if (show) c("stdout", "stderr"), Inf)
  done <- TRUE
  look_at(executed)
}

follow_executed <- function(executed, streams, timeout) {
  end <- proc.time()[["elapsed"]] + timeout
  places <- c(stdout = 0, stderr = 0)
  repeat {
    ended <- !is.null(executed$known)
    for (stream in if (length(streams)) streams else "stdout") {
      news <- read_stream(executed, stream, places[[stream]])
      places[[stream]] <- news[[2L]]
      ended <- news[[3L]]
      if (length(streams) && nzchar(news[[1L]])) {
        # Of what is on the standard error, notebooks and documents show messages alone.
        if (stream == "stdout") cat(news[[1L]]) else message(news[[1L]], appendLF = FALSE)
      }
    }
    if (length(streams)) utils::flush.console()
    if (ended) return(TRUE)
    if (proc.time()[["elapsed"]] > end) return(FALSE)
    Sys.sleep(poll_seconds)
  }
}

wait_executed <- function(executed, timeout = Inf, stream = NULL) {
  if (!is.numeric(timeout) || length(timeout) != 1L || is.na(timeout)) {
    stop_metaflow(
      paste0("wait() takes a timeout in seconds, not ", show_value(timeout), "."),
      class = "metaflow_invalid_argument"
    )
  }
  if (!is.null(stream)) check_stream(stream)
  ended <- follow_executed(executed, stream, timeout)
  executed$timed_out <- !ended
  if (ended) look_at(executed)
  invisible(executed)
}

stream_log <- function(executed, stream = "stdout", callback = NULL) {
  check_stream(stream)
  if (!is.null(callback) && !is.function(callback)) {
    stop_metaflow(
      paste0("stream_log() takes a function of a line, not ", show_value(callback), "."),
      class = "metaflow_invalid_argument"
    )
  }
  lines <- character()
  position <- 0
  repeat {
    news <- read_stream(executed, stream, position)
    position <- news[[2L]]
    for (line in strsplit(news[[1L]], "\n", fixed = TRUE)[[1L]]) {
      lines <- c(lines, line)
      if (!is.null(callback) && isFALSE(callback(line))) return(invisible(lines))
    }
    if (news[[3L]]) return(if (is.null(callback)) lines else invisible(lines))
    if (!nzchar(news[[1L]])) Sys.sleep(poll_seconds)
  }
}

check_stream <- function(stream) {
  if (!identical(stream, "stdout") && !identical(stream, "stderr")) {
    stop_metaflow(
      paste0("There is no stream ", show_value(stream), ". Streams: \"stdout\", \"stderr\"."),
      class = "metaflow_invalid_argument"
    )
  }
}

executed_run <- function(executed) {
  pathspec <- look_at(executed)$pathspec
  if (!nzchar(pathspec)) await_id(executed)
  pathspec <- look_at(executed)$pathspec
  if (nzchar(pathspec)) return(run_object(pathspec))
  stop_metaflow(paste0("There is no run: ", last_error(executed)), class = "metaflow_not_found")
}

executed_task <- function(executed) {
  if (is.null(look_at(executed)$returncode)) {
    stop_metaflow("The step still runs. Wait for its end first: $wait().", class = "metaflow_not_found")
  }
  found <- call_core("runner_task", executed$number)
  structure(new_object(found$pathspec, found$scope), kept_by = executed) # its artifacts go with what keeps them
}

last_error <- function(executed) {
  lines <- trimws(strsplit(executed_member(executed, "stderr"), "\n", fixed = TRUE)[[1L]])
  why <- utils::tail(lines[nzchar(lines)], 1L)
  if (length(why)) why else "see its output."
}

executed_members <- function(executed) {
  c(if (executed$spun) "task" else "run", "status", "returncode", "stdout", "stderr", "wait", "stream_log", "kill")
}

executed_member <- function(executed, name) {
  switch(name,
    run = executed_run(executed),
    task = executed_task(executed),
    status = {
      code <- look_at(executed)$returncode
      if (is.null(code)) if (executed$timed_out) "timeout" else "running" else if (code == 0L) "successful" else "failed"
    },
    returncode = look_at(executed)$returncode,
    stdout = ,
    stderr = read_stream(executed, name)[[1L]],
    wait = function(timeout = Inf, stream = NULL) wait_executed(executed, timeout, stream),
    stream_log = function(stream = "stdout", callback = NULL) stream_log(executed, stream, callback),
    kill = function() {
      if (is.null(executed$known)) call_core("runner_kill", executed$number)
      look_at(executed)
      invisible(executed)
    }
  )
}

#' @export
`$.metaflow_executed` <- function(x, name) {
  executed <- .subset2(x, "executed")
  known <- executed_members(executed)
  if (!name %in% known) {
    stop_metaflow(paste0("A run of runner() has no `", name, "`. ", suggest(name, known)), class = "metaflow_unknown_member")
  }
  found <- executed_member(executed, name)
  if (!name %in% c("wait", "kill")) return(found)
  function(...) {
    found(...)
    invisible(x)
  }
}

#' @export
`[[.metaflow_executed` <- function(x, i) {
  if (is_string(i)) `$.metaflow_executed`(x, i) else stop_metaflow("A run of runner() has its members by name.")
}

#' @export
.DollarNames.metaflow_executed <- function(x, pattern = "") grep(pattern, executed_members(.subset2(x, "executed")), value = TRUE)

#' @export
format.metaflow_executed <- function(x, ...) {
  executed <- .subset2(x, "executed")
  facts <- look_at(executed)
  what <- if (executed$spun) executed$file else if (nzchar(facts$pathspec)) facts$pathspec else "no run"
  ended <- if (!is.null(facts$returncode)) paste0(", exit status ", facts$returncode)
  paste0("<", what, ": ", executed_member(executed, "status"), ended, ">")
}

#' @export
print.metaflow_executed <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}
