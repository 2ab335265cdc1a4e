#' Deploy a flow file to production
#'
#' `deployer("flow.R")` deploys a flow that is in a file, in R or in Python, from a session, a script or a notebook, and
#' `deployed_flow()` finds what is deployed already, without its file. In a script, [run()] does the same on the command line:
#' `run(airflow = "create")`.
#'
#' @inheritParams runner
#' @param identifier Name of a deployment, such as `"shop.prod.TrainFlow"`, or what the orchestrator calls it.
#' @param orchestrator Name of an orchestrator: `"step_functions"`, `"argo_workflows"`, `"airflow"`, `"local"`; by default any.
#' @param flow_name Name of a flow; by default any.
#' @return `deployer()` is a list of functions, one for each orchestrator: `step_functions(...)`, `argo_workflows(...)`,
#'   `airflow(...)`, `local(...)`, and those of plugins. Each takes options of `create`, and gives a list with
#'   - `create(...)`: deploy the flow, or a new version of it. Arguments are options of the command line in snake case:
#'     `authorize`, `generate_new_token = TRUE`, `tags`, `max_workers`, `workflow_timeout`, ...
#'
#'   What `create()` and `deployed_flow()` return, and `list_deployed_flows()` as a list, has
#'   - `name` (of the deployment), `flow_name`, `orchestrator`, `production_token`, and `handle`, what the orchestrator calls
#'     it;
#'   - `trigger(...)`: start a run, with parameters of the flow;
#'   - `list_runs(...)`: its runs, the latest first; those with one of the given statuses: `"running"`, `"failed"`, ...;
#'   - `run(run_id)`: the run with this id;
#'   - `status()`: a list of what is deployed: `owner`, `schedule`, `triggers`, `parameters`, ...;
#'   - `delete(authorize = NULL)`: remove it from the orchestrator. Its runs and its production token stay.
#'
#'   What `trigger()` returns has
#'   - `run_id`, `pathspec`, and `handle`, what the orchestrator calls it;
#'   - `run`: the [run][run_client], whatever its namespace; `NULL` until its first task has begun;
#'   - `status`: what the orchestrator says: `"queued"`, `"running"`, `"succeeded"`, `"failed"`, `"terminated"`, `"timed-out"`;
#'   - `wait_for_run(timeout = Inf, check_interval = 0.5)`: wait until the run has begun, at most so many seconds, and return
#'     it;
#'   - `terminate(authorize = NULL)`: end it.
#'
#'   What can't be done is an error, as the command line tells it: of class `metaflow_incorrect_production_token` when others
#'   have deployed the flow and `authorize` is not their token, `metaflow_usage` for a wrong parameter, `metaflow_not_found`
#'   for what is not deployed, `metaflow_invalid_argument` for an argument that there is not.
#' @examples
#' \dontrun{
#' deployed <- deployer("train.R", production = TRUE)$airflow(max_workers = 10)$create(tags = "nightly")
#' triggered <- deployed$trigger(alpha = 0.5)
#' triggered$wait_for_run()
#' triggered$status
#'
#' deployed_flow("shop.prod.TrainFlow")$list_runs("failed")
#' }
#' @export
deployer <- function(flow_file, show_output = TRUE, profile = NULL, env = NULL, cwd = NULL, ...) {
  options <- list(...)
  place <- flow_place("deployer", if (!missing(flow_file)) flow_file, show_output, profile, env, cwd, options)
  # Commands about what was deployed need no file, and find the same database.
  root <- options$datastore_root
  if (is_string(root) && !grepl("^/|://", root)) root <- file.path(place$cwd, root)
  known <- lapply(list(options$metadata, options$datastore, root), function(x) if (is_string(x)) x else "")
  place$env <- c(place$env, do.call(call_core, c(list("deployer_variables"), known)))
  orchestrators <- call_core("orchestrators")
  structure(
    lapply(orchestrators, function(orchestrator) {
      force(orchestrator)
      function(...) new_target(place, orchestrator, list(...))
    }),
    class = "metaflow_deployer",
    file = flow_file
  )
}

#' @rdname deployer
#' @export
deployed_flow <- function(identifier, orchestrator = NULL, profile = NULL, env = NULL, cwd = NULL) {
  if (missing(identifier) || !is_string(identifier)) {
    stop_metaflow("deployed_flow() takes the name of a deployment.", class = "metaflow_invalid_argument")
  }
  every <- list_deployed_flows(orchestrator, NULL, profile, env, cwd)
  names <- vapply(every, function(one) one$name, "")
  found <- every[names == identifier | vapply(every, function(one) one$handle == identifier, TRUE)]
  if (length(found) > 1L) {
    where <- paste(vapply(found, function(one) one$orchestrator, ""), collapse = ", ")
    stop_metaflow(
      paste0(identifier, " is deployed on ", where, ". Say which one: orchestrator = \"...\"."),
      class = "metaflow_command"
    )
  }
  if (!length(found)) {
    on <- if (!is.null(orchestrator)) paste0(" on ", orchestrator)
    stop_metaflow(
      trimws(paste0("Nothing is deployed as ", identifier, on, ". ", suggest(identifier, unique(names), quote = FALSE))),
      class = "metaflow_not_found"
    )
  }
  found[[1L]]
}

#' @rdname deployer
#' @export
list_deployed_flows <- function(orchestrator = NULL, flow_name = NULL, profile = NULL, env = NULL, cwd = NULL) {
  if (!is.null(orchestrator)) orchestrator <- known_orchestrator(orchestrator)
  env <- c(runner_environment(env, "list_deployed_flows"), if (!is.null(profile)) c(METAFLOW_PROFILE = profile))
  place <- list(file = NULL, show = FALSE, env = env, cwd = normalizePath(if (is.null(cwd)) getwd() else cwd, mustWork = FALSE))
  rows <- lapply(ask(place, "--json"), function(line) call_core("deployer_read", line))
  rows <- Filter(function(row) {
    (is.null(orchestrator) || row$orchestrator == orchestrator) && (is.null(flow_name) || row$flow == flow_name)
  }, rows)
  lapply(rows, function(row) {
    row$flow_name <- row$flow
    row$production_token <- sub("^[^:]*:", "", row$namespace)
    new_deployed(place, row)
  })
}

known_orchestrator <- function(name) {
  known <- call_core("orchestrators")
  found <- if (is_string(name)) known[gsub("-", "_", name)] else NA
  if (is.na(found)) {
    stop_metaflow(
      paste0("There is no orchestrator ", show_value(name), ". ", if (is_string(name)) suggest(name, names(known))),
      class = "metaflow_invalid_argument"
    )
  }
  unname(found)
}

known_statuses <- function(statuses) {
  known <- c("queued", "running", "succeeded", "failed", "terminated", "timed-out")
  for (wrong in setdiff(statuses, known)) {
    stop_metaflow(paste0("There is no status ", show_value(wrong), ". ", suggest(wrong, known)), class = "metaflow_usage")
  }
  statuses
}

new_target <- function(place, orchestrator, given) {
  where <- paste0(gsub("-", "_", orchestrator), "()$create()")
  command <- paste(orchestrator, "create")
  words_of(given, where, command = command)
  structure(
    list(create = function(...) {
      words <- words_of(utils::modifyList(given, list(...)), where, command = command)$after
      told <- ask(place, c(orchestrator, "create", words), answers = TRUE)
      place["file"] <- list(NULL)
      new_deployed(place, call_core("deployer_read", told))
    }),
    class = "metaflow_deployer_target",
    what = orchestrator
  )
}

new_deployed <- function(place, facts) {
  place["file"] <- list(NULL)
  about <- c(facts$orchestrator, facts$name)
  quiet <- replace(place, "show", FALSE)
  tell <- function(words, answers = FALSE, where = quiet) ask(where, c(about, words), answers)
  one <- function(told) new_triggered(call_core("deployer_read", told), facts$flow_name, tell)
  structure(
    c(
      facts[c("name", "flow_name", "orchestrator", "production_token", "handle")],
      list(
        trigger = function(...) {
          words <- words_of(list(...), "trigger()", command = paste(facts$orchestrator, "trigger"))$after
          one(tell(c("trigger", words), TRUE, place))
        },
        list_runs = function(...) {
          statuses <- known_statuses(c(...))
          lapply(tell(c("list-runs", if (length(statuses)) paste0("--", statuses), "--json")), one)
        },
        run = function(run_id) {
          if (!is_string(run_id) || !grepl("^(\\w+/)?[A-Za-z0-9][A-Za-z0-9._-]*$", run_id)) {
            stop_metaflow(
              paste0("run() takes the id of a run, such as \"airflow-4a56ce8e4c0d5530\", not ", show_value(run_id), "."),
              class = "metaflow_usage"
            )
          }
          one(tell(c("status", run_id, "--json")))
        },
        status = function() call_core("deployer_read", tell(c("status", "--json"))),
        delete = function(authorize = NULL) {
          tell(c("delete", token_words(authorize)))
          invisible()
        }
      )
    ),
    class = "metaflow_deployed_flow",
    what = paste0(facts$name, ": ", facts$orchestrator)
  )
}

new_triggered <- function(facts, flow_name, tell) {
  pathspec <- paste0(flow_name, "/", facts$run_id)
  there <- function() tryCatch(run_object(pathspec), metaflow_not_found = function(e) NULL)
  status <- function() call_core("deployer_read", tell(c("status", facts$run_id, "--json")))$status
  structure(
    list(
      run_id = facts$run_id, pathspec = pathspec, handle = if (is.null(facts$handle)) "" else facts$handle,
      run = there, status = status,
      wait_for_run = function(timeout = Inf, check_interval = 0.5) {
        end <- proc.time()[["elapsed"]] + timeout
        repeat {
          found <- there()
          if (!is.null(found)) return(found)
          if (proc.time()[["elapsed"]] > end) {
            stop_metaflow(paste0(
              pathspec, " has not begun within ", timeout, " seconds. The orchestrator says that it is ", status(), "."
            ))
          }
          Sys.sleep(check_interval)
        }
      },
      terminate = function(authorize = NULL) {
        tell(c("terminate", facts$run_id, token_words(authorize)))
        invisible()
      }
    ),
    class = "metaflow_triggered_run",
    what = pathspec
  )
}

token_words <- function(authorize) if (!is.null(authorize)) c("--authorize", authorize)

# Carries out a command to its end, and returns what it tells programs; what it tells people is shown if so wanted.
ask <- function(place, words, answers = FALSE) {
  sync_environment()
  variables <- Sys.getenv()
  variables[["R_LIBS"]] <- paste(.libPaths(), collapse = .Platform$path.sep)
  variables[names(place$env)] <- place$env
  executed <- new.env(parent = emptyenv())
  executed$process <- Sys.getpid()
  executed$number <- call_core(
    "deployer_start", place$file, file.path(R.home("bin"), "Rscript"), place$cwd, if (is.null(place$file)) character() else place$before,
    words, answers, names(variables), as.character(variables)
  )
  done <- FALSE
  on.exit(if (!done) close_executed(executed))
  follow_executed(executed, if (place$show) c("stdout", "stderr"), Inf)
  done <- TRUE
  call_core("deployer_answer", executed$number)
}

member_of_deployer <- function(x, name) {
  known <- names(unclass(x))
  if (!name %in% known) {
    what <- switch(class(x)[[1L]],
      metaflow_deployer = "There is no orchestrator `",
      metaflow_deployer_target = "A flow to be deployed has no `",
      metaflow_deployed_flow = "A deployed flow has no `",
      metaflow_argo_event = "An event for Argo Events has no `",
      "A run of a deployed flow has no `"
    )
    stop_metaflow(paste0(what, name, "`. ", suggest(name, known)), class = "metaflow_unknown_member")
  }
  found <- unclass(x)[[name]]
  if (inherits(x, "metaflow_triggered_run") && name %in% c("run", "status")) found() else found
}

#' @export
`$.metaflow_deployer` <- function(x, name) member_of_deployer(x, name)

#' @export
`$.metaflow_deployer_target` <- function(x, name) member_of_deployer(x, name)

#' @export
`$.metaflow_deployed_flow` <- function(x, name) member_of_deployer(x, name)

#' @export
`$.metaflow_triggered_run` <- function(x, name) member_of_deployer(x, name)

#' @export
print.metaflow_deployer <- function(x, ...) {
  cli::cat_line("<deployer of ", attr(x, "file"), ": ", paste0("$", names(x), "()", collapse = ", "), ">")
  invisible(x)
}

#' @export
print.metaflow_deployer_target <- function(x, ...) {
  cli::cat_line("<to be deployed: ", attr(x, "what"), ">")
  invisible(x)
}

#' @export
print.metaflow_deployed_flow <- function(x, ...) {
  cli::cat_line("<deployed flow ", attr(x, "what"), ">")
  invisible(x)
}

#' @export
print.metaflow_triggered_run <- function(x, ...) {
  cli::cat_line("<triggered run ", attr(x, "what"), ">")
  invisible(x)
}
