#' Publish an event
#'
#' It starts flows that are deployed to the local orchestrator with `trigger(event = name)`. Those on Argo Workflows are
#' started by [argo_event()].
#'
#' @param name Name of the event, a text.
#' @param payload A named list of what JSON can express: texts, numbers, `TRUE` and `FALSE`, and lists of them. Fields of it
#'   can become parameters of the flow: see [trigger()].
#' @param id What tells the event from others of its name, a text; by default a new one. An event of the same name and id
#'   counts once.
#' @return The id, invisibly. What is no event is an error of class `metaflow_error`.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the database of the examples lies
#' publish_event("data_updated", list(table = "sales", rows = 100))
#' setwd(old)
#' }
#' @export
publish_event <- function(name, payload = list(), id = NULL) {
  check_event(name, payload)
  sync_environment()
  invisible(call_core("publish_event", name, as.list(payload), id))
}

check_event <- function(name, payload) {
  if (!is_string(name)) stop_metaflow("An event is named by one text.", class = "metaflow_invalid_argument")
  if (length(payload) && (is.null(names(payload)) || !all(nzchar(names(payload))))) {
    stop_metaflow("The payload of an event is a named list: list(rows = 100).", class = "metaflow_invalid_argument")
  }
}

#' Publish an event to Argo Events
#'
#' It starts flows that are deployed to Argo Workflows with `trigger(event = name)`. Nothing waits for them.
#'
#' @inheritParams publish_event
#' @param url The webhook of Argo Events, by default the setting `METAFLOW_ARGO_EVENTS_WEBHOOK_URL`. It is sent a JSON object
#'   with `name`, `id`, `time` (microseconds since 1970), `type` and `payload`.
#' @param access_token A text that is sent along, as a bearer token.
#' @return A list with
#'   - `publish(payload = list(), force = TRUE, ignore_errors = TRUE)`: send the event, with more fields if `payload` has some,
#'     and return its id, invisibly. When it can't be sent, that is a warning, and the value `NULL`; with
#'     `ignore_errors = FALSE` it is an error of class `metaflow_error`. Without `force` only deployed flows send it;
#'   - `safe_publish(payload = list(), ignore_errors = TRUE)`: the same without `force`, so that nothing happens on a laptop;
#'   - `add_to_payload(key, value)`: an event that has one more field.
#' @examples
#' event <- argo_event("data_updated", payload = list(table = "sales"))
#' \dontrun{
#' event$publish(list(rows = 100))
#' event$add_to_payload("rows", 100)$safe_publish()
#' }
#' @export
argo_event <- function(name, url = NULL, payload = list(), access_token = NULL) {
  check_event(if (!missing(name)) name, payload)
  for (text in list(url, access_token)) {
    if (!is.null(text) && !is_string(text)) {
      stop_metaflow("`url` and `access_token` of an event are texts.", class = "metaflow_invalid_argument")
    }
  }
  with_fields <- function(more) {
    check_event(name, more)
    fields <- as.list(payload)
    fields[names(more)] <- as.list(more)
    fields
  }
  publish <- function(payload = list(), force = TRUE, ignore_errors = TRUE) {
    fields <- with_fields(payload)
    sync_environment()
    send <- function() call_core("publish_argo_event", name, url, fields, access_token, isTRUE(force))
    if (!isTRUE(ignore_errors)) return(invisible(send()))
    invisible(tryCatch(send(), metaflow_error = function(e) {
      warning(conditionMessage(e), call. = FALSE)
      NULL
    }))
  }
  structure(
    list(
      publish = publish,
      safe_publish = function(payload = list(), ignore_errors = TRUE) publish(payload, FALSE, ignore_errors),
      add_to_payload = function(key, value) {
        argo_event(name, url, with_fields(structure(list(value), names = key)), access_token)
      }
    ),
    class = "metaflow_argo_event",
    what = name
  )
}

#' @export
`$.metaflow_argo_event` <- function(x, name) member_of_deployer(x, name)

#' @export
print.metaflow_argo_event <- function(x, ...) {
  cli::cat_line("<event ", attr(x, "what"), " for Argo Events>")
  invisible(x)
}
