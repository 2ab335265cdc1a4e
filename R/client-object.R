# Objects of the client. Each is the text of its pathspec, with the class of what it is, so it can be given wherever a
# text can; what it knows is asked of the core when `$` asks for it. The attribute "scope" is where and in which namespace
# it was made: it keeps both.

kinds <- c("flow_client", "run_client", "step_client", "task_client", "artifact")
kind_names <- c("flow", "run", "step", "task", "artifact")

new_object <- function(pathspec, scope, attempt = NULL) {
  depth <- length(strsplit(pathspec, "/", fixed = TRUE)[[1L]])
  structure(pathspec, class = c(kinds[[depth]], "metaflow_object"), scope = scope, attempt = attempt)
}

# Another object, of the same scope. NULL stays NULL.
related <- function(x, pathspec) if (!is.null(pathspec)) new_object(pathspec, attr(x, "scope"))

last_part <- function(x) sub("^.*/", "", as.character(x))
all_but_last <- function(x) sub("/[^/]*$", "", as.character(x))

# An object from what its constructor was given: pathspecs, ids and other objects, from the outermost on.
open_object <- function(kind, parts, attempt = NULL, check = TRUE) {
  depth <- match(kind, kinds)
  sync_environment()
  parts <- parts[!vapply(parts, is.null, NA)]
  if (length(parts) == 0L) {
    wanted <- paste(kind_names[seq_len(depth)], collapse = "/")
    stop_metaflow(
      paste0(kind, "$new() needs a pathspec, as in ", kind, "$new(\"", wanted, "\")."),
      class = "metaflow_invalid_pathspec"
    )
  }
  where <- character()
  pathspec <- ""
  for (part in parts) {
    if (inherits(part, "metaflow_object")) where <- attr(part, "scope")[[1L]]
    pathspec <- if (nzchar(pathspec)) below(pathspec, part) else id_text(part)
  }
  attempt <- as_attempt(attempt)
  scope <- call_core("client_open", pathspec, as.integer(attempt), where, c(depth, check))
  new_object(pathspec, scope, attempt)
}

# The pathspec of what `id` names inside of `pathspec`: an id, or a pathspec that begins with it.
below <- function(pathspec, id) {
  text <- id_text(id)
  if (!grepl("/", text, fixed = TRUE)) return(paste0(pathspec, "/", text))
  if (!startsWith(text, paste0(pathspec, "/"))) {
    stop_metaflow(paste0(text, " is not in ", pathspec, "."), class = "metaflow_invalid_pathspec")
  }
  text
}

id_text <- function(id) {
  if (inherits(id, "metaflow_object") || is_string(id)) return(as.character(id))
  if (is.numeric(id) && length(id) == 1L && !is.na(id) && id == trunc(id)) return(format(id, scientific = FALSE, trim = TRUE))
  stop_metaflow(
    paste0("An id or a pathspec is one text, a whole number or an object of the client, not ", show_value(id), "."),
    class = "metaflow_invalid_pathspec"
  )
}

as_attempt <- function(attempt) {
  if (is.null(attempt)) return(NULL)
  if (!is.numeric(attempt) || length(attempt) != 1L || is.na(attempt) || attempt < 0 || attempt != trunc(attempt)) {
    stop_metaflow(
      paste0("An attempt is a number, 0 for the first one, not ", show_value(attempt), "."),
      class = "metaflow_invalid_argument"
    )
  }
  as.integer(attempt)
}

child <- function(x, id) {
  pathspec <- below(as.character(x), id)
  call_core("client_child", x, substring(pathspec, nchar(x) + 2L))
  related(x, pathspec)
}

field <- function(x, name) call_core("client_field", x, name)

# Python has read the environment when it started. What identity and settings depend on may have changed since.
sync_environment <- function() {
  variables <- environment_of_metaflow()
  if (!identical(variables, the$environment)) {
    call_core("set_environment", names(variables), unname(variables))
    the$environment <- variables
  }
}

# --- what `$` finds ----------------------------------------------------------------------------------------------------

# What all objects have. A member is a function of the object; the methods among them return a function.
common_members <- list(
  id = function(x) last_part(x),
  pathspec = function(x) as.character(x),
  path_components = function(x) strsplit(x, "/", fixed = TRUE)[[1L]],
  parent = function(x) related(x, if (grepl("/", x, fixed = TRUE)) all_but_last(x)),
  tags = function(x) field(x, "tags"),
  user_tags = function(x) field(x, "user_tags"),
  system_tags = function(x) field(x, "system_tags"),
  created_at = function(x) field(x, "created_at"),
  finished_at = function(x) field(x, "finished_at"),
  origin_pathspec = function(x) field(x, "origin_pathspec"),
  is_in_namespace = function(x) function() call_core("client_in_namespace", x),
  summary = function(x) function() summary(x)
)

own_members <- function(x) {
  switch(class(x)[[1L]],
    flow_client = flow_members,
    run_client = run_members,
    step_client = step_members,
    task_client = task_members,
    artifact = artifact_members
  )
}

member_names <- function(x) unique(names(c(own_members(x), common_members)))

#' @export
`$.metaflow_object` <- function(x, name) {
  member <- .subset2(own_members(x), name)
  if (is.null(member)) member <- .subset2(common_members, name)
  if (is.null(member)) no_member(x, name)
  member(x)
}

no_member <- function(x, name, known = member_names(x)) {
  begin <- known[startsWith(known, name)]
  advice <- if (nzchar(name) && length(begin)) {
    paste0("Did you mean ", paste0("`", begin, "`", collapse = " or "), "?")
  } else {
    suggest(name, known)
  }
  stop_metaflow(
    paste0("AttributeError: ", if (inherits(x, "artifact")) "an " else "a ", class(x)[[1L]], " has no `", name, "`. ", advice),
    class = "metaflow_unknown_member"
  )
}

#' @export
`[[.metaflow_object` <- function(x, i, ...) {
  if (is_string(i)) `$.metaflow_object`(x, i) else .subset2(unclass(x), i)
}

#' @export
`$<-.metaflow_object` <- function(x, name, value) {
  stop_metaflow(
    paste0("The results of a run can't be changed, so `", name, "` can't be set. Tags can: run$add_tags(\"a\")."),
    class = "metaflow_unchangeable"
  )
}

#' @export
`[[<-.metaflow_object` <- function(x, i, value) `$<-.metaflow_object`(x, i, value)

#' @export
.DollarNames.metaflow_object <- function(x, pattern = "") grep(pattern, member_names(x), value = TRUE)

# --- as a value --------------------------------------------------------------------------------------------------------

#' @export
as.character.metaflow_object <- function(x, ...) as.vector(unclass(x))

#' @export
format.metaflow_object <- function(x, ...) format(as.character(x), ...)

#' @export
print.metaflow_object <- function(x, ...) {
  cli::cat_line(as.character(x))
  invisible(x)
}

#' @export
str.metaflow_object <- function(object, ...) cat(" <", class(object)[[1L]], "> ", object, "\n", sep = "")

#' @export
c.metaflow_object <- function(...) {
  parts <- list(...)
  kind <- unique(lapply(parts, function(part) class(part)[[1L]]))
  if (length(kind) == 1L && all(vapply(parts, inherits, NA, "metaflow_object"))) {
    return(new_list(named_by_id(parts), kind[[1L]]))
  }
  do.call(c, lapply(parts, function(part) if (inherits(part, "metaflow_object")) as.character(part) else part))
}

#' @export
Ops.metaflow_object <- function(e1, e2) {
  if (!.Generic %in% c("==", "!=")) {
    stop_metaflow(
      paste0("Objects of the client are compared with == and !=, not with ", .Generic, "."),
      class = "metaflow_invalid_argument"
    )
  }
  same <- if (inherits(e1, "metaflow_object")) is_same(e1, e2) else is_same(e2, e1)
  if (.Generic == "==") same else !same
}

place <- function(x) sub("^default:", "", attr(x, "scope")[[1L]])

# A number or a text without a slash is an id. 0 is no id: as the status of a finished command it means success.
is_same <- function(x, other) {
  if (inherits(other, "metaflow_object")) {
    return(
      identical(class(x), class(other)) && identical(as.character(x), as.character(other)) &&
        identical(place(x), place(other)) && identical(attr(x, "attempt"), attr(other, "attempt"))
    )
  }
  if (is.list(other)) return(vapply(other, function(one) is_same(x, one), NA))
  if (inherits(x, "run_client") && is.numeric(other) && identical(as.numeric(other), 0)) return(field(x, "successful"))
  text <- as.character(other)
  ifelse(grepl("/", text, fixed = TRUE), text == as.character(x), text == last_part(x))
}
