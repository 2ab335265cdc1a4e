# Lists of objects, by id. `about` says what is in one, for when it is empty.

new_list <- function(objects, kind, about = "") {
  structure(objects, class = c("metaflow_list", "list"), kind = kind, about = about)
}

child_list <- function(x, ids, kind, about) {
  new_list(objects_at(x, paste0(x, "/", ids, recycle0 = TRUE), kind, ids), kind, about)
}

object_list <- function(x, pathspecs, kind, about) {
  new_list(objects_at(x, pathspecs, kind, last_part(pathspecs)), kind, about)
}

# One by one, but with attributes that are made once: there may be many.
objects_at <- function(x, pathspecs, kind, names) {
  attributes <- list(class = c(kind, "metaflow_object"), scope = attr(x, "scope"))
  if (kind == "artifact") attributes$attempt <- attr(x, "attempt")
  objects <- lapply(pathspecs, `attributes<-`, attributes)
  names(objects) <- names
  objects
}

#' @export
`[.metaflow_list` <- function(x, i) {
  new_list(as.list(x)[i], attr(x, "kind"), attr(x, "about"))
}

#' @export
`[[.metaflow_list` <- function(x, i, ...) {
  place <- if (length(i) != 1L) NA else if (is.character(i)) match(i, names(x)) else if (is.numeric(i)) i else NA
  if (is.na(place) || place < 1 || place > length(x)) no_element(x, i)
  .subset2(x, place)
}

#' @export
`$.metaflow_list` <- function(x, name) x[[name]]

no_element <- function(x, i) {
  about <- attr(x, "about")
  if (!nzchar(about)) about <- "elements"
  text <- if (length(x) == 0L) {
    paste0("There are no ", about, ".")
  } else if (is_string(i)) {
    paste0("\"", i, "\" is not among the ", length(x), " ", about, ". ", suggest(i, utils::head(names(x), 200L)))
  } else {
    count <- if (length(x) == 1L) paste("There is 1", singular(about)) else paste("There are", length(x), about)
    paste0(count, ", so there is no [[", paste(deparse(i), collapse = " "), "]].")
  }
  stop_metaflow(paste0("MetaflowNotFound: ", text), class = "metaflow_not_found")
}

singular <- function(about) sub("^([a-z]+)s\\b", "\\1", about)

#' @export
.DollarNames.metaflow_list <- function(x, pattern = "") grep(pattern, names(x), value = TRUE)

#' @export
c.metaflow_list <- function(...) {
  parts <- list(...)
  all <- do.call(c, lapply(parts, function(part) if (inherits(part, "metaflow_object")) list(part) else as.list(part)))
  kinds <- unique(c(lapply(all, function(one) class(one)[[1L]]), attr(parts[[1L]], "kind")))
  if (length(kinds) == 1L) new_list(named_by_id(all), kinds[[1L]]) else all
}

named_by_id <- function(objects) {
  names(objects) <- vapply(objects, last_part, "")
  objects
}

#' @export
as.character.metaflow_list <- function(x, ...) {
  vapply(unclass(x), as.character, "", USE.NAMES = FALSE)
}

#' @export
format.metaflow_list <- function(x, ...) format(as.character(x), ...)

#' @export
as.list.metaflow_list <- function(x, ...) {
  attributes(x) <- list(names = names(x))
  x
}

#' @importFrom utils str
#' @export
str.metaflow_list <- function(object, ...) cat(" <", length(object), " ", attr(object, "about"), ">\n", sep = "")

#' @export
print.metaflow_list <- function(x, ..., n = 20L) {
  about <- attr(x, "about")
  count <- if (length(x)) format(length(x), big.mark = ",") else "no"
  if (!nzchar(about)) about <- "objects"
  if (length(x) == 1L) about <- singular(about)
  cli::cat_line(cli::col_grey("# ", count, " ", about))
  if (length(x)) {
    table <- as.data.frame(utils::head(x, n))
    print(show_columns(table), row.names = FALSE, right = FALSE)
    if (length(x) > n) cli::cat_line(cli::col_grey("# ... and ", format(length(x) - n, big.mark = ","), " more"))
  }
  invisible(x)
}

# What a notebook shows.
#' @exportS3Method repr::repr_html
repr_html.metaflow_list <- function(obj, ...) {
  if (length(obj) == 0L) return(NULL)
  repr::repr_html(show_columns(as.data.frame(utils::head(obj, 20L))), ...)
}

# As texts, without the first column when all objects are in the same, and without those that tell nothing.
show_columns <- function(table) {
  if (ncol(table) > 3L && length(unique(table[[1L]])) < 2L) table <- table[-1L]
  for (name in names(table)) {
    column <- table[[name]]
    table[[name]] <- if (inherits(column, "POSIXct")) {
      ifelse(is.na(column), "", format(column, "%Y-%m-%d %H:%M:%S"))
    } else if (inherits(column, "difftime")) {
      ifelse(is.na(column), "", paste0(format(round(as.numeric(column, units = "secs"), 1L), trim = TRUE), "s"))
    } else if (is.list(column)) {
      vapply(column, paste, "", collapse = ", ")
    } else {
      ifelse(is.na(column), "", as.character(column))
    }
  }
  table[vapply(table, function(column) any(nzchar(column)), NA)]
}

#' Lists of runs, steps, tasks and artifacts
#'
#' `flow$runs`, `flow$runs_with_tags()`, `run$steps`, `step$tasks` and `run$artifacts` are lists of objects, the newest
#' first. `[[` takes a place or an id, `$` takes an id, and `lapply()`, `for` and `Filter()` work as on any list. Printed,
#' the list is a table; `as.data.frame()` has all of it, in a few queries however long the list is.
#'
#' @param x A list of objects, or one object.
#' @param row.names,optional,... Not used.
#' @return A data frame with a row per object. For runs it has the columns `flow`, `id`, `status`, `created_at`,
#'   `finished_at` (`POSIXct` in UTC), `user`, and `tags`, a list of the tags that people gave to the run. For steps
#'   `run`, `id`, `tasks` (how many), `created_at`, `finished_at`; for tasks `step`, `id`, `status`, `index`, `attempt`,
#'   `created_at`, `finished_at`; for artifacts `task`, `id`, `type`, `language`, `size`.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' runs <- flow_client$new("PredictionFlow")$runs
#' runs[[1]]
#' table <- as.data.frame(runs)
#' table[table$status == "failed", ]
#' setwd(old)
#' }
#' @export
as.data.frame.metaflow_list <- function(x, row.names = NULL, optional = FALSE, ...) {
  objects <- as.list(x)
  if (attr(x, "kind") == "flow_client") return(flows_table(objects))
  parents <- all_but_last(x)
  scopes <- vapply(objects, function(object) attr(object, "scope")[[1L]], "")
  groups <- split(seq_along(objects), factor(paste(parents, scopes), unique(paste(parents, scopes))))
  tables <- lapply(groups, function(places) {
    first <- objects[[places[[1L]]]]
    parent <- new_object(parents[[places[[1L]]]], attr(first, "scope"), attr(first, "attempt"))
    call_core("client_table", parent, vapply(objects[places], last_part, ""))
  })
  if (length(tables) == 0L) return(call_core("client_empty_table", attr(x, "kind")))
  table <- do.call(rbind, unname(tables))
  # back in the order of the list
  table <- table[order(match(paste0(table[[1L]], "/", table$id), as.character(x))), ]
  attr(table, "row.names") <- seq_len(nrow(table))
  table
}

#' @rdname as.data.frame.metaflow_list
#' @export
as.data.frame.metaflow_object <- function(x, row.names = NULL, optional = FALSE, ...) {
  as.data.frame(new_list(list(x), class(x)[[1L]]))
}

flows_table <- function(flows) {
  latest <- lapply(flows, function(flow) flow$latest_run)
  moments <- lapply(flows, function(flow) flow$created_at)
  data.frame(
    id = vapply(flows, as.character, "", USE.NAMES = FALSE),
    created_at = as.POSIXct(vapply(moments, as.numeric, 0, USE.NAMES = FALSE), origin = "1970-01-01", tz = "UTC"),
    latest_run = vapply(latest, function(run) if (is.null(run)) NA_character_ else run$id, "", USE.NAMES = FALSE)
  )
}
