tag_texts <- function(...) {
  tags <- list(...)
  flat <- unlist(tags, use.names = FALSE)
  if (is.null(flat)) return(character())
  if (!all(vapply(tags, function(part) is.character(unlist(part)), NA)) || anyNA(flat)) {
    stop_metaflow(
      paste0("MetaflowTaggingError: tags are texts, not ", show_value(if (length(tags) == 1L) tags[[1L]] else tags), "."),
      class = "metaflow_tagging_error"
    )
  }
  as.character(flat)
}

one_tag <- function(tag) {
  tag <- tag_texts(tag)
  if (length(tag) != 1L) {
    stop_metaflow(
      paste0("MetaflowTaggingError: this takes one tag, not ", length(tag), ". For several: add_tags(), remove_tags(), replace_tags()."),
      class = "metaflow_tagging_error"
    )
  }
  tag
}

change_tags <- function(run, remove = character(), add = character()) {
  sync_environment()
  call_core("client_change_tags", run, remove, add)
  invisible(run)
}
