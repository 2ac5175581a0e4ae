# ---- Reading the data, and comparing numbers ---------------------------------------------------

options(digits = 10, stringsAsFactors = FALSE, warn = 1)
argument <- grep("^--file=", commandArgs(FALSE), value = TRUE)
folder <- if (length(argument)) dirname(sub("^--file=", "", argument[1])) else getwd()
critical <- qnorm(0.5 + confidence / 2)
tail_probability <- (1 - confidence) / 2
compared <- list()
not_done <- character(0)
failed <- character(0)

# CSV files guard texts that a spreadsheet would run as a formula with an apostrophe.
plain <- function(x) sub("^'('*[-=+@\t\r\n])", "\\1", x)

read_csv <- function(file) {
  path <- file.path(folder, file)
  if (!file.exists(path)) return(NULL)
  table <- read.csv(path, check.names = FALSE, encoding = "UTF-8", na.strings = "",
                    colClasses = "character", quote = "\"", comment.char = "")
  names(table) <- sub("^\ufeff", "", enc2utf8(names(table)))
  names(table)[1] <- sub("^[^A-Za-z]+", "", names(table)[1])
  for (name in names(table)) {
    text <- table[[name]]
    number <- suppressWarnings(as.numeric(text))
    is_number <- all(is.na(text) == is.na(number) | text %in% c("nan", "NaN"))
    table[[name]] <- if (is_number) number else plain(text)
  }
  table
}
read_report <- function(key) read_csv(file.path("tables", paste0(key, ".csv")))

# Compares numbers of the report with those of R; the difference is relative above 1.
compare <- function(table, what, quantity, report, r, tolerance = 1e-6) {
  report <- as.numeric(report); r <- as.numeric(r)
  if (length(report) != length(r))
    stop(table, ", ", quantity, ": the report has ", length(report), " numbers, R ", length(r))
  if (!length(report)) return(invisible())
  same <- (is.na(report) & is.na(r)) | (!is.na(report) & !is.na(r) & report == r)
  gap <- ifelse(same, 0, abs(report - r) / pmax(1, abs(report)))
  gap[is.na(gap)] <- Inf
  compared[[length(compared) + 1]] <<- data.frame(
    table = table, what = as.character(what), quantity = quantity, report = report, R = r,
    difference = gap, tolerance = tolerance, row.names = NULL)
}

# An estimate whose standard error is 0 (but for rounding) has no interval and no test.
if_known <- function(se, value) ifelse(se > 1e-12, value, NA)

# Runs one part of the script; a package that is not installed costs only that part.
part <- function(title, packages, code) {
  absent <- packages[!vapply(packages, requireNamespace, logical(1), quietly = TRUE)]
  if (length(absent)) {
    not_done <<- c(not_done, paste0(title, ": not done, because the R package ", absent[1],
                                    " is not installed; install.packages(\"", absent[1], "\")"))
    return(invisible())
  }
  for (package in packages)
    suppressPackageStartupMessages(library(package, character.only = TRUE))
  tryCatch(code(), error = function(problem) {
    told <- paste0(title, ": ", conditionMessage(problem))
    if (startsWith(conditionMessage(problem), "not done")) not_done <<- c(not_done, told)
    else failed <<- c(failed, told)
  })
  invisible()
}

# The outcome of the patients; those who enter late (column `entry_time`) are at risk from then.
outcome_of <- function(frame) {
  if (late) return(survival::Surv(frame$entry_time, frame$time, frame$event))
  survival::Surv(frame$time, frame$event)
}

# The strata of the Cox models: if the scores are out of fold, each fold has a model of its own, and
# only patients of one fold are compared.
folds_of <- function(frame) if (out_of_fold) factor(frame$model_fold)
# A formula of coxph with these strata; its data have the column model_fold.
within_strata <- function(formula) {
  if (out_of_fold) update(formula, . ~ . + strata(model_fold)) else formula
}

as_levels <- function(x, levels) factor(x, levels = levels)
data <- read_csv("analysis.csv")
names(data) <- columns
data$risk_group <- as_levels(data$risk_group, group_levels)
for (v in names(variables))
  if (length(variables[[v]]$levels))
    data[[v]] <- as_levels(as.character(data[[v]]), variables[[v]]$levels)
# Scores out of fold are standardised already.
score_sd <- if (out_of_fold) 1 else sd(data$risk_score)
if (out_of_fold) data$model_fold <- as.character(data$model_fold)

# A variable of a model: its column, its name in the report, its levels, and the step of its
# hazard ratio.
score_term <- list(column = "risk_score", name = "risk_score__", title = "Risk score",
                   per = score_sd)
group_term <- list(column = "risk_group", name = "risk_group__", title = "Risk group",
                   levels = group_levels)
for (v in setdiff(names(subgroups), names(variables)))
  if (length(subgroups[[v]]$levels))
    data[[v]] <- as_levels(as.character(data[[v]]), subgroups[[v]]$levels)
clinical <- lapply(names(variables), function(v) c(list(column = v), variables[[v]]))

# Rows that have every variable, without levels that nobody has; constant variables are dropped.
complete_rows <- function(terms, frame = data) {
  used <- vapply(terms, function(term) term$column, "")
  frame <- frame[stats::complete.cases(frame[used]), , drop = FALSE]
  droplevels(frame)
}
varying <- function(terms, frame) Filter(function(term) {
  length(unique(frame[[term$column]])) > 1
}, terms)

# The columns of a Cox model as a matrix: numbers per step, an indicator for each other level.
design <- function(terms, frame) {
  parts <- lapply(terms, function(term) {
    x <- frame[[term$column]]
    if (!is.factor(x)) return(matrix(x / term$per, ncol = 1))
    vapply(levels(x)[-1], function(level) as.numeric(x == level), numeric(nrow(frame)))
  })
  x <- do.call(cbind, parts)
  colnames(x) <- paste0("x", seq_len(ncol(x)))
  x
}
