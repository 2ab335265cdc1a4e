# In RStudio, IRkernel, knitr and at a terminal, a run is a process of its own, whose lines are shown as they come. It
# gets the flow with all that its functions can see: closures, the objects of the session, the attached packages.

run_in_child <- function(flow, given) {
  folder <- tempfile("metaflow")
  dir.create(folder)
  on.exit(unlink(folder, recursive = TRUE))
  file <- file.path(folder, "flow.rds")
  saveRDS(
    list(
      flow = flow,
      given = given,
      objects = as.list(globalenv(), all.names = FALSE),
      packages = rev(sub("^package:", "", grep("^package:", search(), value = TRUE))),
      options = options()[c("stringsAsFactors", "digits", "scipen", "warn", "encoding")]
    ),
    file,
    compress = FALSE
  )
  expression <- paste0("metaflow:::child_main(", deparse(file), ")")
  command <- paste(shQuote(c(file.path(R.home("bin"), "Rscript"), "--no-save", "--no-restore", "-e", expression)), collapse = " ")
  old <- Sys.getenv("R_LIBS", unset = NA)
  Sys.setenv(R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep))
  on.exit(if (is.na(old)) Sys.unsetenv("R_LIBS") else Sys.setenv(R_LIBS = old), add = TRUE)
  stream(paste(command, "2>&1"), folder)
  result <- file.path(folder, "result.rds")
  if (file.exists(result)) readRDS(result) else list(code = 1L, run = "")
}

stream <- function(command, folder) {
  child <- pipe(command, open = "r", encoding = "UTF-8")
  on.exit(close(child))
  repeat {
    line <- tryCatch(readLines(child, n = 1L, warn = FALSE), interrupt = function(e) {
      pid <- tryCatch(as.integer(readLines(file.path(folder, "pid"))), error = function(e) NA)
      if (!is.na(pid)) tools::pskill(pid, tools::SIGINT)
      "Interrupted."
    })
    if (length(line) == 0L) break
    cat(line, "\n", sep = "")
    utils::flush.console()
  }
}

child_main <- function(file) {
  input <- readRDS(file)
  writeLines(as.character(Sys.getpid()), file.path(dirname(file), "pid"))
  options(input$options[!vapply(input$options, is.null, TRUE)])
  for (package in input$packages) {
    suppressPackageStartupMessages(suppressWarnings(library(package, character.only = TRUE, logical.return = TRUE)))
  }
  list2env(input$objects, envir = globalenv())
  the$child_program <- c(file.path(R.home("bin"), "Rscript"), "--no-save", "--no-restore", "-e", paste0("metaflow:::child_main(", deparse(file), ")"))
  arguments <- commandArgs(trailingOnly = TRUE)
  result <- execute(input$flow, input$given, if (length(arguments)) arguments, the$child_program)
  if (length(arguments) == 0L) saveRDS(result, file.path(dirname(file), "result.rds"))
  quit(save = "no", status = result$code, runLast = FALSE)
}
