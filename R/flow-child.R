# In RStudio, IRkernel, knitr and at a terminal, a run is a process of its own, whose lines are shown as they come. It
# gets the flow with all that its functions can see: closures, the objects of the session, the attached packages.

run_in_child <- function(flow, given, variable) {
  folder <- tempfile("metaflow")
  dir.create(folder)
  on.exit(unlink(folder, recursive = TRUE))
  # Messages name the program after it, so it is called what a script would be.
  file <- file.path(folder, "flow.R")
  saveRDS(
    list(
      flow = flow,
      given = given,
      variable = variable,
      passed_on = shows_terminal(),
      objects = objects_of_session(),
      packages = rev(sub("^package:", "", grep("^package:", search(), value = TRUE))),
      options = options()[c("stringsAsFactors", "digits", "scipen", "warn", "encoding")]
    ),
    file,
    compress = FALSE
  )
  old <- Sys.getenv("R_LIBS", unset = NA)
  Sys.setenv(R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep))
  on.exit(if (is.na(old)) Sys.unsetenv("R_LIBS") else Sys.setenv(R_LIBS = old), add = TRUE)
  show_child(child_program(file), folder)
  result <- file.path(folder, "result.rds")
  if (file.exists(result)) readRDS(result) else list(code = 1L, run = "")
}

# Whether what the child writes gets to a terminal as it is, cursor movements included.
shows_terminal <- function() {
  interactive() && isatty(stdout()) && !(Sys.getenv("TERM") %in% c("", "dumb")) && !identical(.Platform$GUI, "RStudio") &&
    sink.number() == 0L
}

# Hidden ones included: the definitions of S4 classes are such. Only the state of the random numbers stays here.
objects_of_session <- function() {
  mget(setdiff(ls(globalenv(), all.names = TRUE), ".Random.seed"), envir = globalenv())
}

child_program <- function(file) {
  c(file.path(R.home("bin"), "Rscript"), "--no-save", "--no-restore", "-e", "metaflow:::child_main()", file)
}

# Starts the program and shows its lines until it ends. An interrupt is passed on, whether the host sends it to this
# process alone, as RStudio does, or to all of its group, as a terminal does: the child has a group of its own, and
# hears of the interrupt here and of nothing else. Each line that `control` gets, and its end, be it because this session
# was killed, is a request to stop.
show_child <- function(program, folder) {
  lines <- file.path(folder, "lines")
  ended <- file.path(folder, "ended")
  command <- paste(
    "trap '' HUP INT; exec 3<&0 2>/dev/null;",
    paste(shQuote(program), collapse = " "), "</dev/null >", shQuote(lines), "2>&1 3<&- & child=$!;",
    "{ while read -r _; do kill -TERM $child; done; kill -TERM $child; } <&3 &",
    "wait $child; : >", shQuote(ended)
  )
  use_utf8()
  the$shown <- 0
  control <- pipe(command, "w")
  on.exit(suppressWarnings(close(control)))
  repeat {
    if (tryCatch(follow_child(lines, ended), interrupt = function(e) FALSE)) break
    try(suppressWarnings({
      writeLines("stop", control)
      flush(control)
    }), silent = TRUE)
  }
}

# Shows whole lines as they come. TRUE when the child has ended.
follow_child <- function(lines, ended) {
  repeat {
    # In this order, because what it wrote before it ended may not be lost.
    last <- file.exists(ended)
    bytes <- new_bytes(lines)
    size <- if (last && length(bytes) < chunk_bytes) length(bytes) else max(0L, which(bytes == 10L))
    # A line that is longer than a chunk comes in pieces.
    if (size == 0L && length(bytes) == chunk_bytes) size <- chunk_bytes
    if (size > 0L) {
      the$shown <- the$shown + size
      bytes <- bytes[seq_len(size)]
      text <- rawToChar(bytes[bytes != 0L])
      Encoding(text) <- "UTF-8"
      cat(text)
      utils::flush.console()
    } else if (last) {
      return(TRUE)
    } else {
      Sys.sleep(0.02)
    }
  }
}

chunk_bytes <- 65536L

new_bytes <- function(file) {
  if (!file.exists(file) || file.size(file) <= the$shown) return(raw())
  input <- file(file, "rb")
  on.exit(close(input))
  seek(input, the$shown)
  readBin(input, raw(), chunk_bytes)
}

child_main <- function() {
  arguments <- commandArgs(trailingOnly = TRUE)
  file <- arguments[[1L]]
  arguments <- arguments[-1L]
  input <- suppressWarnings(readRDS(file)) # text that was typed in the locale "C" may be of any encoding
  options(input$options[!vapply(input$options, is.null, TRUE)])
  for (package in input$packages) {
    suppressPackageStartupMessages(suppressWarnings(library(package, character.only = TRUE, logical.return = TRUE)))
  }
  list2env(input$objects, envir = globalenv())
  the$child_program <- child_program(file)
  if (length(arguments) == 0L) call_core("leave_group") # a task has a group of its own already
  result <- execute(
    input$flow, input$given, if (length(arguments)) arguments, the$child_program, input$variable, input$passed_on
  )
  if (length(arguments) == 0L) saveRDS(result, file.path(dirname(file), "result.rds"))
  quit(save = "no", status = result$code, runLast = FALSE)
}
