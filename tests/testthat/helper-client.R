# A project with results of Anne and Will, made once per process. Flows are written in Python, which starts quicker, so
# that these tests show what R reads of them; tests of R flows are in their own files.

shared <- new.env()

# Without a Python that has the package the test is skipped.
python_of_metaflow <- function() {
  if (!is.null(shared$python)) return(shared$python)
  python <- tryCatch(metaflow:::find_python(), metaflow_error = function(e) NULL)
  if (is.null(python)) testthat::skip("no Python with metaflow-tandem was found")
  works <- suppressWarnings(system2(python, c("-c", shQuote("import metaflow, rpy2")), stdout = FALSE, stderr = FALSE))
  if (works != 0L) testthat::skip("that Python lacks metaflow-tandem or rpy2")
  shared$python <- python
}

flow_source <- function(name) {
  c(
    "from metaflow import FlowSpec, Parameter, step",
    paste0("class ", name, "(FlowSpec):"),
    "    alpha = Parameter('alpha', default=0.5)",
    "    fail = Parameter('fail', default=False)",
    "    @step",
    "    def start(self):",
    "        print('to stdout')",
    "        import sys",
    "        print('to stderr', file=sys.stderr)",
    "        self.numbers = [1, 2, 3]",
    "        self.words = {'a': 'x', 'b': 'y'}",
    "        self.next(self.double, foreach='numbers')",
    "    @step",
    "    def double(self):",
    "        self.doubled = self.input * 2",
    "        self.next(self.join)",
    "    @step",
    "    def join(self, inputs):",
    "        self.doubled = [input.doubled for input in inputs]",
    "        self.next(self.end)",
    "    @step",
    "    def end(self):",
    "        if self.fail:",
    "            raise ValueError('asked to fail')",
    "        self.greeting = 'hello'",
    "if __name__ == '__main__':",
    paste0("    ", name, "()")
  )
}

run_flow <- function(project, flow, user, ...) {
  file <- paste0(flow, ".py")
  if (!file.exists(file.path(project, file))) writeLines(flow_source(flow), file.path(project, file))
  withr::with_dir(project, withr::with_envvar(c(METAFLOW_USER = user), {
    system2(python_of_metaflow(), c(file, "run", ...), stdout = file.path(project, "log"), stderr = file.path(project, "log"))
  }))
}

# The runs of the document on organizing results: the latest PredictionFlow of Will is 5, that of Anne is 8.
results <- function() {
  if (is.null(shared$project)) {
    project <- file.path(tempfile("results"))
    dir.create(project)
    users <- c("anne", "will", "anne", "will", "will", "anne", "anne", "anne")
    for (user in users) run_flow(project, "PredictionFlow", user)
    run_flow(project, "FeatureFlow", "will", "--tag", "crazy_test")
    run_flow(project, "FeatureFlow", "anne", "--tag", "xyz_features", "--tag", "crazy_test")
    run_flow(project, "FeatureFlow", "will", "--tag", "crazy_test")
    run_flow(project, "FeatureFlow", "anne", "--fail", "true")
    shared$project <- project
  }
  shared$project
}

# In the project as one of its users, until the test ends.
local_results <- function(user = "anne", project = results(), env = parent.frame()) {
  python_of_metaflow()
  withr::local_dir(project, .local_envir = env)
  withr::local_envvar(
    METAFLOW_USER = user, METAFLOW_HOME = file.path(project, "home"), METAFLOW_DEFAULT_DATASTORE = NA,
    METAFLOW_METADATA_URL = NA, METAFLOW_PRODUCTION_TOKEN = NA, .local_envir = env
  )
  withr::local_options(cli.num_colors = 1L, .local_envir = env)
  withr::defer({
    set_default_namespace()
    reset_default_metadata()
  }, envir = env)
  set_default_namespace()
  invisible(project)
}

# A project of its own for tests that change tags.
of_tags <- function() {
  if (is.null(shared$tags)) {
    shared$tags <- tempfile("tags")
    dir.create(shared$tags)
    run_flow(shared$tags, "TagFlow", "anne")
  }
  shared$tags
}
