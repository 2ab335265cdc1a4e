# What the codec in Python leaves to R: what needs R's own functions, or is faster in R's C code.

latin1_to_utf8 <- function(x) {
  other <- Encoding(x) == "latin1"
  x[other] <- enc2utf8(x[other])
  x
}

has_bit64 <- function() requireNamespace("bit64", quietly = TRUE)

typed_na <- function(type) {
  switch(type,
    integer = NA_integer_, double = NA_real_, character = NA_character_, complex = NA_complex_, NA
  )
}

typed_nas <- function(type, count) rep(typed_na(type), count)

set_na <- function(x, missing) {
  x[missing] <- NA
  x
}

with_attributes <- function(x, attributes) {
  # dimnames need dim, and a class may check what is under it
  given <- names(attributes)
  order <- unique(c(intersect(c("dim", "dimnames", "names"), given), setdiff(given, "class"), intersect("class", given)))
  for (name in order) attr(x, name) <- attributes[[name]]
  x
}

join_moments <- function(items) {
  items <- lapply(items, function(item) if (is.null(item)) NA else item)
  first <- Filter(Negate(function(item) is.logical(item)), items)[[1L]]
  numbers <- vapply(items, function(item) as.numeric(unclass(item)), 0)
  attributes(numbers) <- attributes(first)
  numbers
}

as_levels <- function(x) {
  if (is.character(x)) return(x)
  if (is.factor(x) || inherits(x, c("Date", "POSIXct"))) return(as.character(x))
  if (is.list(x)) return(vapply(x, function(one) paste(format(one), collapse = " "), ""))
  as.character(x)
}

labels_of <- function(x) {
  if (is.data.frame(x)) return(do.call(paste, c(lapply(x, as.character), sep = ".")))
  as.character(unlist(as_levels(x)))
}

by_rows <- function(x, dim) {
  if (is.atomic(x) && !is.object(x)) return(aperm(array(x, rev(dim))))
  out <- vector("list", prod(dim))
  dim(out) <- dim
  values <- as.list(x)
  out[] <- aperm(array(values, rev(dim)))
  out
}

as_frame <- function(columns) {
  structure(columns, class = "data.frame", row.names = .set_row_names(length(columns[[1L]])))
}

as_multiindex <- function(levels, codes, names) {
  columns <- Map(function(level, code) level[code + 1L], levels, codes)
  names(columns) <- ifelse(nzchar(names), names, paste0("level_", seq_along(columns) - 1L))
  as_frame(columns)
}

# A data frame of its columns. Row names that R can't have (not unique, dates) stay beside it, as reticulate keeps them.
make_frame <- function(columns, class, rows, index, row_names, rest) {
  count <- if (rows[[1L]] >= 0L) rows[[1L]] else if (length(columns)) rows_in(columns[[1L]]) else 0L
  if (length(columns) == 0L) names(columns) <- character()
  labels <- .set_row_names(count)
  if (!is.null(index)) {
    if ((is.character(index) || is.integer(index)) && is.null(attributes(index)) && !anyDuplicated(index) && !anyNA(index)) {
      labels <- index
    } else if (is.numeric(index) && is.null(attributes(index)) && !anyDuplicated(index) && !anyNA(index)) {
      labels <- as.character(index)
    } else {
      rest$pandas.index <- index
    }
  }
  if (row_names == "set") labels <- c(NA_integer_, count)
  for (name in names(rest)) attr(columns, name) <- rest[[name]]
  if (row_names != "none") attr(columns, "row.names") <- labels
  attr(columns, "class") <- class
  if ("data.table" %in% class && requireNamespace("data.table", quietly = TRUE)) {
    columns <- data.table::setalloccol(columns)
  }
  columns
}

rows_in <- function(x) if (is.data.frame(x)) .row_names_info(x, 2L) else if (length(dim(x))) dim(x)[[1L]] else length(x)

with_labels <- function(x, labels) {
  if (is.atomic(x) && (is.character(labels) || is.numeric(labels)) && is.null(attributes(labels))) {
    names(x) <- as.character(labels)
  }
  x
}

# The rows of a column that is a matrix, a data frame or a classed list.
rows_of_column <- function(x) {
  if (is.data.frame(x)) return(lapply(seq_len(nrow(x)), function(i) lapply(as.list(x), function(column) column[[i]])))
  if (length(dim(x)) == 2L) return(lapply(seq_len(nrow(x)), function(i) as.vector(x[i, ])))
  if (length(dim(x)) > 2L) return(lapply(seq_len(dim(x)[[1L]]), function(i) as.list(x)[[i]]))
  lapply(seq_along(x), function(i) x[[i]])
}

# --- opaque values -----------------------------------------------------------------------------------------------------

# Values come in a list: Python's call would evaluate a bare name or call.
serialize_value <- function(box) {
  x <- box[[1L]]
  kind <- paste(class(x), collapse = "/")
  pointers <- new_pointer_search()
  bytes <- tryCatch(serialize(x, NULL, xdr = FALSE, refhook = pointers$look), error = function(e) conditionMessage(e))
  list(bytes, kind, summary_of(x), pointers$found())
}

# Whether external pointers are seen while a value is serialized: they point to nothing when it is read again. Those
# of data.table do no harm: the first of the two is at one place always, and data.table makes them anew.
new_pointer_search <- function() {
  harmless <- if (isNamespaceLoaded("data.table")) format(attr(data.table::data.table(), ".internal.selfref"))
  seen <- FALSE
  skip <- FALSE
  look <- function(reference) {
    if (typeof(reference) == "externalptr") {
      if (skip) skip <<- FALSE else if (is.null(harmless) || format(reference) != harmless) seen <<- TRUE else skip <<- TRUE
    }
    NULL
  }
  list(look = look, found = function() seen)
}

summary_of <- function(x) {
  text <- tryCatch(
    {
      if (is.function(x)) {
        deparse(args(x), nlines = 1L)
      } else if (is.environment(x)) {
        paste0("<environment: ", paste(utils::head(ls(x), 5L), collapse = ", "), ">")
      } else {
        utils::capture.output(utils::str(x, max.level = 0L, give.attr = FALSE))
      }
    },
    error = function(e) ""
  )
  text <- trimws(gsub("\\s+", " ", paste(text, collapse = " ")))
  text <- iconv(text, "", "UTF-8", sub = "?")
  if (nchar(text) > 120L) paste0(substr(text, 1L, 117L), "...") else text
}

unserialize_value <- function(bytes) unserialize(bytes)

# Environments, and what is made of them, change in place; a data.table does too.
may_change_in_place <- function(box) changeable(box[[1L]])

changeable <- function(x) {
  if (is.environment(x) || isS4(x)) return(TRUE)
  if (is.list(x)) {
    if (inherits(x, "data.table")) return(TRUE)
    if (is.data.frame(x)) return(any(vapply(x, is.list, TRUE)) && any(vapply(unclass(x), changeable, TRUE)))
    return(length(x) > 0L && any(vapply(unclass(x), changeable, TRUE)))
  }
  FALSE
}

# --- sparse matrices ---------------------------------------------------------------------------------------------------

sparse_parts <- function(x) {
  class <- class(x)
  if (!identical(attr(class, "package"), "Matrix")) return(NULL)
  if (!class %in% c("dgCMatrix", "dgRMatrix", "dgTMatrix")) return(NULL)
  names <- methods::slot(x, "Dimnames")
  if (!all(vapply(names, is.null, TRUE)) || length(methods::slot(x, "factors"))) return(NULL)
  part <- function(name) methods::slot(x, name)
  switch(class,
    dgCMatrix = list("csc", part("Dim"), part("x"), part("i"), part("p")),
    dgRMatrix = list("csr", part("Dim"), part("x"), part("j"), part("p")),
    dgTMatrix = list("coo", part("Dim"), part("x"), part("i"), part("j")),
    NULL
  )
}

make_sparse <- function(format, dim, parts) {
  if (!requireNamespace("Matrix", quietly = TRUE)) return(NULL)
  data <- as.numeric(parts$data)
  switch(format,
    csc = methods::new("dgCMatrix", Dim = dim, x = data, i = as.integer(parts$i), p = as.integer(parts$p)),
    csr = methods::new("dgRMatrix", Dim = dim, x = data, j = as.integer(parts$i), p = as.integer(parts$p)),
    coo = methods::new("dgTMatrix", Dim = dim, x = data, i = as.integer(parts$i), j = as.integer(parts$j))
  )
}

# Calls a function for Python: list(TRUE, value), or list(message).
try_call <- function(f, ...) {
  tryCatch(list(TRUE, f(...)), error = function(e) list(conditionMessage(e)))
}
