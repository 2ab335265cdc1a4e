# What has started a run: the events, oldest first, and the database in which the runs among them are.
trigger_of <- function(run) {
  events <- call_core("client_trigger", run)
  if (is.null(events)) NULL else structure(list(events = events), class = "metaflow_trigger")
}

trigger_fields <- c("event", "events", "run", "runs")

#' @export
`$.metaflow_trigger` <- function(x, name) {
  events <- unclass(x)$events
  switch(name,
    events = events,
    event = events[[length(events)]],
    runs = triggering_runs(events),
    run = {
      runs <- triggering_runs(events)
      if (!is.null(runs)) runs[[length(runs)]]
    },
    stop_metaflow(
      paste0("AttributeError: a trigger has no `", name, "`. ", suggest(name, trigger_fields)),
      class = "metaflow_unknown_member"
    )
  )
}

triggering_runs <- function(events) {
  ends <- Filter(function(event) event$type == "run", events)
  if (length(ends)) lapply(ends, function(event) run_object(event$payload$pathspec))
}

#' @export
`[[.metaflow_trigger` <- function(x, i) if (is.numeric(i)) x$events[[i]] else eval(call("$", x, as.name(i)))

#' @export
names.metaflow_trigger <- function(x) trigger_fields

#' @export
length.metaflow_trigger <- function(x) length(unclass(x)$events)

#' @export
.DollarNames.metaflow_trigger <- function(x, pattern = "") grep(pattern, trigger_fields, value = TRUE)

#' @export
format.metaflow_trigger <- function(x, ...) {
  paste0("<trigger: ", paste(vapply(x$events, function(event) event$name, ""), collapse = ", "), ">")
}

#' @export
print.metaflow_trigger <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

#' @export
str.metaflow_trigger <- function(object, ...) cat("", format(object), "\n")
