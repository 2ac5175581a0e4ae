# Reference numbers for the statistics of reviews, from R.
#
#   Rscript tests/tiles_of_interest/reference/reference.R tests/tiles_of_interest/reference
#
# Debian 12: R 4.2.2, psych 2.2.9. The ratings are drawn here too, so that both sides read the same
# file. Cohen's kappa is psych's; Fleiss' kappa and the sign-flip test are written out from their
# papers; fisher.test and p.adjust are R's own.

suppressPackageStartupMessages(library(psych))
options(digits = 17)
out_dir <- commandArgs(trailingOnly = TRUE)[1]
set.seed(2021)
n_units <- 10; per_unit <- 8
unit <- rep(seq_len(n_units), each = per_unit)
n <- length(unit)
# tiles of a slide are alike in side and feature
side <- rnorm(n_units)[unit]
high <- as.integer(side + rnorm(n, sd = 0.7) > 0)
truth <- function(shift) as.integer(shift * high + rnorm(n_units)[unit] + rnorm(n) > 0.6)
seen <- function(x, wrong) ifelse(runif(n) < wrong, 1L - x, x)
stroma <- truth(1.2); atypia <- truth(0.4); immune <- truth(-0.8)
verdict <- function() sample(c("agree", "disagree", "artefact", "cannot say"), n, TRUE,
                             c(6, 3, 1, 1))
base <- verdict()
say <- function() ifelse(runif(n) < 0.35, verdict(), base)
frame <- data.frame(tile = seq_len(n), unit, high, stroma, atypia, immune,
  a = say(), b = say(), c = say(),
  stroma_a = seen(stroma, 0.1), stroma_b = seen(stroma, 0.25), stroma_c = seen(stroma, 0.2))
write.csv(frame, file.path(out_dir, "ratings.csv"), row.names = FALSE, quote = FALSE, eol = "\n")

rows <- list()
put <- function(item, key, value)
  rows[[length(rows) + 1]] <<- data.frame(item, key, value = as.numeric(value))

fleiss <- function(ratings) {
  levels <- sort(unique(unlist(ratings)))
  counts <- t(apply(ratings, 1, function(row) table(factor(row, levels))))
  raters <- ncol(ratings)
  p <- colSums(counts) / (nrow(counts) * raters)
  agree <- (rowSums(counts^2) - raters) / (raters * (raters - 1))
  (mean(agree) - sum(p^2)) / (1 - sum(p^2))
}
cohen <- function(pair) {
  levels <- sort(unique(unlist(pair)))
  table <- table(factor(pair[[1]], levels), factor(pair[[2]], levels)) / nrow(pair)
  chance <- sum(rowSums(table) * colSums(table))
  (sum(diag(table)) - chance) / (1 - chance)
}
sets <- list(verdict = c("a", "b", "c"), stroma = c("stroma_a", "stroma_b", "stroma_c"))
for (question in names(sets)) {
  columns <- sets[[question]]
  for (pair in list(c(1, 2), c(1, 3), c(2, 3))) {
    chosen <- frame[columns[pair]]
    codes <- lapply(chosen, function(x) as.integer(factor(x, sort(unique(unlist(chosen))))))
    key <- paste(question, paste(c("a", "b", "c")[pair], collapse = ", "))
    suppressWarnings(put("cohen", key, cohen.kappa(as.data.frame(codes))$kappa))
    stopifnot(all.equal(tail(rows, 1)[[1]]$value, cohen(chosen)))
  }
  put("fleiss", question, fleiss(frame[columns]))
  # whole slides are drawn; 20,000 samples, so that the ends are known to about 0.003
  draw <- function() unlist(lapply(sample(n_units, replace = TRUE), function(u) which(unit == u)))
  samples <- replicate(20000, draw(), simplify = FALSE)
  ends <- function(f) quantile(sapply(samples, f), c(0.025, 0.975))
  pair <- ends(function(at) cohen(frame[at, columns[1:2]]))
  all <- ends(function(at) fleiss(frame[at, columns]))
  put("cohen-interval", paste(question, "lower"), pair[1])
  put("cohen-interval", paste(question, "upper"), pair[2])
  put("fleiss-interval", paste(question, "lower"), all[1])
  put("fleiss-interval", paste(question, "upper"), all[2])
}

features <- c("stroma", "atypia", "immune")
flips <- as.matrix(expand.grid(rep(list(c(-1, 1)), n_units)))
p_fisher <- c(); p_flip <- c()
for (feature in features) {
  y <- frame[[feature]]
  table <- rbind(c(sum(y[high == 1]), sum(1 - y[high == 1])),
                 c(sum(y[high == 0]), sum(1 - y[high == 0])))
  test <- fisher.test(table)
  put("fisher", feature, test$p.value); p_fisher <- c(p_fisher, test$p.value)
  put("odds", feature, test$estimate)
  put("odds-lower", feature, test$conf.int[1]); put("odds-upper", feature, test$conf.int[2])
  parts <- tapply((high - mean(high)) * (y - mean(y)), unit, sum)
  sums <- abs(flips %*% parts)
  p <- mean(sums >= abs(sum(parts)) - 1e-12)
  put("flip", feature, p); p_flip <- c(p_flip, p)
  cells <- sapply(split(seq_len(n), unit), function(at) c(
    sum(high[at] * y[at]), sum(high[at] * (1 - y[at])), sum((1 - high[at]) * y[at]),
    sum((1 - high[at]) * (1 - y[at]))))
  ratio <- replicate(20000, {
    s <- rowSums(cells[, sample(n_units, replace = TRUE)]) + 0.5
    s[1] * s[4] / (s[2] * s[3])
  })
  ends <- quantile(log(ratio), c(0.025, 0.975))
  put("log-odds-units", paste(feature, "lower"), ends[1])
  put("log-odds-units", paste(feature, "upper"), ends[2])
}
holm <- p.adjust(p_fisher, "holm"); holm_flip <- p.adjust(p_flip, "holm")
for (i in seq_along(features)) {
  put("fisher-holm", features[i], holm[i]); put("flip-holm", features[i], holm_flip[i])
}
table <- do.call(rbind, rows)
table$value <- trimws(formatC(table$value, digits = 15, format = "g"))
write.csv(table, file.path(out_dir, "reference.csv"), row.names = FALSE, quote = 1:2, eol = "\n")
