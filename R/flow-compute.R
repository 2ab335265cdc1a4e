#' Run a step on AWS Batch
#'
#' Each task is one job of AWS Batch, in a container of an image that has R, Python and metaflow. It shares nothing with this
#' machine but the metadata database and the artifact store. `run(flow, batch = TRUE)`, `run(flow, with = "batch")` and
#' `Rscript flow.R run --with batch` do so for all steps. The page `docs/aws-batch.md` says how it is set up.
#'
#' Where [resources()] asks for more, that counts. What is left out comes from settings: `METAFLOW_BATCH_JOB_QUEUE`,
#' `METAFLOW_BATCH_CONTAINER_IMAGE`, `METAFLOW_ECS_S3_ACCESS_IAM_ROLE`, `METAFLOW_ECS_FARGATE_EXECUTION_ROLE`.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param cpu,gpu Numbers of processors; by default 1 and 0.
#' @param memory,shared_memory,max_swap Sizes in MB; by default `memory` is 4096.
#' @param image The container image, one text.
#' @param queue The job queue, one text.
#' @param iam_role,execution_role ARNs: the role of the task, and the one with which its container is started.
#' @param swappiness How readily memory is swapped, from 0 to 100.
#' @param aws_batch_tags Tags of the jobs: a list with names.
#' @param use_tmpfs,tmpfs_tempdir,tmpfs_size,tmpfs_path Whether there is a folder in memory, whether temporary files go
#'   there, its size in MB (by default half of `memory`), and where it is.
#' @param ephemeral_storage Disk of a machine of Fargate in GiB, from 21 to 200.
#' @param log_driver,log_options How logs are kept. Only those of `awslogs`, which is the default, can be shown.
#' @param host_volumes Folders of the machine, a character vector.
#' @param efs_volumes Folders by the ids of file systems of EFS: a list with names.
#' @return A decorator for [step()].
#' @examples
#' batch(cpu = 4, memory = 16000, queue = "large")
#' @export
batch <- function(..., cpu = NULL, gpu = NULL, memory = NULL, image = NULL, queue = NULL, iam_role = NULL,
                  execution_role = NULL, shared_memory = NULL, max_swap = NULL, swappiness = NULL, aws_batch_tags = NULL,
                  use_tmpfs = NULL, tmpfs_tempdir = NULL, tmpfs_size = NULL, tmpfs_path = NULL, ephemeral_storage = NULL,
                  log_driver = NULL, log_options = NULL, host_volumes = NULL, efs_volumes = NULL) {
  decorate(
    "batch", list(...),
    cpu = cpu, gpu = gpu, memory = memory, image = image, queue = queue, iam_role = iam_role,
    execution_role = execution_role, shared_memory = shared_memory, max_swap = max_swap, swappiness = swappiness,
    aws_batch_tags = aws_batch_tags, use_tmpfs = use_tmpfs, tmpfs_tempdir = tmpfs_tempdir, tmpfs_size = tmpfs_size,
    tmpfs_path = tmpfs_path, ephemeral_storage = ephemeral_storage, log_driver = log_driver, log_options = log_options,
    host_volumes = host_volumes, efs_volumes = efs_volumes
  )
}

#' Run a step on Kubernetes
#'
#' Each task is one Job of Kubernetes with one pod, in a container of an image that has R, Python and metaflow. It shares
#' nothing with this machine but the metadata database and the artifact store. `run(flow, with = "kubernetes")` and
#' `Rscript flow.R run --with kubernetes` do so for all steps. The page `docs/kubernetes.md` says how it is set up.
#'
#' Where [resources()] asks for more, that counts. What is left out comes from settings that are called like the argument,
#' such as `METAFLOW_KUBERNETES_NAMESPACE`; that of `image` is `METAFLOW_KUBERNETES_CONTAINER_IMAGE`.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param cpu,gpu Numbers of processors; by default 1 and none.
#' @param memory,disk,shared_memory Sizes in MB; by default `memory` is 4096 and `disk` 10240.
#' @param image The container image, one text.
#' @param image_pull_policy `"Always"`, `"IfNotPresent"` or `"Never"`.
#' @param image_pull_secrets,secrets Names of secrets, character vectors: with which the image is pulled, and whose keys
#'   become variables of the task.
#' @param service_account,namespace One text each.
#' @param node_selector,labels,annotations Lists with names, or one text such as `"a=b,c=d"`.
#' @param gpu_vendor By default `"nvidia"`.
#' @param tolerations A list of lists with names.
#' @param use_tmpfs,tmpfs_tempdir,tmpfs_size,tmpfs_path Whether there is a folder in memory, whether temporary files go
#'   there, its size in MB (by default half of `memory`), and where it is.
#' @param persistent_volume_claims Folders by the names of claims: a list with names.
#' @param port A port that the container opens.
#' @param qos `"Burstable"`, or `"Guaranteed"` for no more than what is asked for.
#' @param security_context That of the container: a list with names.
#' @return A decorator for [step()].
#' @examples
#' kubernetes(cpu = 4, memory = 16000, namespace = "research")
#' @export
kubernetes <- function(..., cpu = NULL, gpu = NULL, memory = NULL, disk = NULL, image = NULL, image_pull_policy = NULL,
                       image_pull_secrets = NULL, service_account = NULL, secrets = NULL, node_selector = NULL,
                       namespace = NULL, gpu_vendor = NULL, tolerations = NULL, labels = NULL, annotations = NULL,
                       use_tmpfs = NULL, tmpfs_tempdir = NULL, tmpfs_size = NULL, tmpfs_path = NULL,
                       persistent_volume_claims = NULL, shared_memory = NULL, port = NULL, qos = NULL,
                       security_context = NULL) {
  decorate(
    "kubernetes", list(...),
    cpu = cpu, gpu = gpu, memory = memory, disk = disk, image = image, image_pull_policy = image_pull_policy,
    image_pull_secrets = image_pull_secrets, service_account = service_account, secrets = secrets,
    node_selector = node_selector, namespace = namespace, gpu_vendor = gpu_vendor, tolerations = tolerations,
    labels = labels, annotations = annotations, use_tmpfs = use_tmpfs, tmpfs_tempdir = tmpfs_tempdir,
    tmpfs_size = tmpfs_size, tmpfs_path = tmpfs_path, persistent_volume_claims = persistent_volume_claims,
    shared_memory = shared_memory, port = port, qos = qos, security_context = security_context
  )
}
