diff_sections <- c("parameters", "artifacts", "tasks", "tags", "environment", "graph")

# What `$diff()` of runs, steps and tasks gives.
diff_of <- function(x, other, full = FALSE) {
  if (!isTRUE(full) && !isFALSE(full)) {
    stop_metaflow(paste0("`full` is TRUE or FALSE, not ", show_value(full), "."), class = "metaflow_invalid_argument")
  }
  sync_environment()
  found <- call_core("client_diff", x, if (inherits(other, "metaflow_object")) other else id_text(other), full)
  changes <- found$changes
  parts <- lapply(diff_sections, function(section) {
    part <- changes[changes$section == section, -1L]
    row.names(part) <- NULL
    part
  })
  names(parts) <- diff_sections
  structure(
    c(found[c("old", "new", "differs", "facts")], parts, found["code"]),
    class = "metaflow_diff",
    changes = changes,
    text = found$text,
    styles = found$styles,
    html = found$html
  )
}

#' What a run has read, what ran, and how two runs differ
#'
#' `run$inputs` and `run$consumers` tell which artifacts of which runs were read by which tasks through the client.
#' `run$source` and `run$environment` tell what ran. `run$diff(other)` compares two runs; steps that have one task, and
#' tasks, have `diff()`, too.
#'
#' Artifacts with equal fingerprints are never loaded, and opaque ones, such as models, never at all. Values of more than
#' 64 MB are looked into with `full = TRUE` only. Of tasks in a foreach it is told in how many an artifact differs; to see
#' how, compare two of them.
#'
#' A comparison prints as a text. Its elements are
#' - `old`, `new`: the pathspecs; `differs`: whether anything differs but the times and the user;
#' - `facts`: a data frame with `fact`, `old`, `new`: status, when it started, how long it took, ...;
#' - `parameters`, `artifacts`, `tasks` (how many per step), `tags`, `environment`, `graph`: data frames with `step`, `name`,
#'   `change` (`"added"`, `"removed"`, `"changed"`), `old`, `new`, `detail`, all of them texts;
#' - `code`: by file, a unified diff.
#'
#' @param x A comparison, from `run$diff()`.
#' @param row.names,optional,... Not used.
#' @return `as.data.frame()`: all that differs, with the column `section`.
#' @examples
#' \dontrun{
#' run <- flow_client$new("PredictionFlow")$latest_run
#' run$inputs
#' difference <- run_client$new("PredictionFlow/7")$diff(run)
#' difference
#' difference$parameters
#' as.data.frame(difference)
#' }
#' @name lineage
#' @export
as.data.frame.metaflow_diff <- function(x, row.names = NULL, optional = FALSE, ...) attr(x, "changes")

#' @export
format.metaflow_diff <- function(x, ...) {
  text <- attr(x, "text")
  if (isTRUE(l10n_info()[["UTF-8"]])) text else gsub("\u2192", "->", text, fixed = TRUE)
}

#' @export
print.metaflow_diff <- function(x, ...) {
  paint <- list(
    title = cli::style_bold, added = cli::col_green, removed = cli::col_red, changed = cli::col_yellow,
    hunk = cli::col_cyan, faint = cli::col_grey
  )
  text <- format(x)
  for (style in names(paint)) {
    here <- attr(x, "styles") == style
    text[here] <- as.character(paint[[style]](text[here]))
  }
  writeLines(text)
  invisible(x)
}

#' @importFrom utils str
#' @export
str.metaflow_diff <- function(object, ...) cat(" <difference of ", object$old, " and ", object$new, ">\n", sep = "")

# What a notebook shows.
#' @exportS3Method repr::repr_html
repr_html.metaflow_diff <- function(obj, ...) attr(obj, "html")
