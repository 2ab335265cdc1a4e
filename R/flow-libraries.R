# In the process of a task: packages are looked for in these folders first. Gives a text when that can't help, because
# another version is loaded already.
add_libraries <- function(folders, names, versions) {
  .libPaths(c(folders, .libPaths()))
  for (i in which(names %in% loadedNamespaces())) {
    loaded <- as.character(getNamespaceVersion(names[[i]]))
    if (loaded != versions[[i]]) {
      return(paste0("The step asks for ", names[[i]], " ", versions[[i]], ", and version ", loaded, " of it is loaded already."))
    }
  }
  character()
}

# Where this R looks for packages, and where it gets them from.
package_places <- function() {
  repos <- getOption("repos")
  list(libraries = .libPaths(), repos = as.character(repos[repos != "@CRAN@"]), version = as.character(getRversion()))
}
