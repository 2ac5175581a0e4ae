# Reference numbers for external validation.
#
#   python -m tests.survival.datasets DATA
#   Rscript tests/survival/reference/validation.R DATA tests/survival/reference
#
# Debian 12: R 4.2.2, survival 3.5-3, riskRegression 2022.11.28, metafor 3.8-1. The code was
# developed on gbsg2 and simulations.

suppressPackageStartupMessages({
  library(survival); library(riskRegression); library(metafor)
})
options(digits = 17)
arguments <- commandArgs(trailingOnly = TRUE)
data_dir <- arguments[1]; out_dir <- arguments[2]
rows <- list()
put <- function(dataset, item, key, ...) {
  values <- list(...)
  for (quantity in names(values))
    rows[[length(rows) + 1]] <<- data.frame(
      dataset = dataset, item = item, key = as.character(key), quantity = quantity,
      value = unname(as.numeric(values[[quantity]])))
}
every <- read.csv(file.path(data_dir, "cohorts.csv"))
horizon <- 8
exact <- coxph.control(eps = 1e-11, toler.chol = 1e-13, iter.max = 50)
link <- function(risk) log(-log(1 - risk))
observed <- function(frame) {
  at <- summary(survfit(Surv(time, event) ~ 1, frame), times = horizon)
  list(risk = 1 - at$surv, se = at$std.err)
}
slope_of <- function(frame) {
  ended <- data.frame(time = pmin(frame$time, horizon), x = link(frame$risk),
                      event = ifelse(frame$time > horizon, 0, frame$event))
  coxph(Surv(time, event) ~ x, ended, control = exact)
}
shift_of <- function(frame, slope) uniroot(function(shift)
  mean(1 - exp(-exp(shift + slope * link(frame$risk)))) - observed(frame)$risk, c(-10, 10),
  tol = 1e-13)$root

found <- list()
for (name in sort(unique(every$cohort))) {
  frame <- every[every$cohort == name, ]
  c_index <- concordance(Surv(time, event) ~ score, frame, reverse = TRUE)
  area <- as.data.frame(Score(
    list(score = frame$score), formula = Surv(time, event) ~ 1, data = frame, times = horizon,
    metrics = "auc", conf.int = TRUE, se.fit = TRUE, null.model = FALSE, cens.method = "ipcw",
    cens.model = "km")$AUC$score)
  frame <- as.data.frame(frame)
  seen <- observed(frame)
  slope <- slope_of(frame)
  ratio <- seen$risk / mean(frame$risk)
  one <- c(c = c_index$concordance, c_se = sqrt(c_index$var), auc = area$AUC, auc_se = area$se,
           slope = unname(coef(slope)), slope_se = sqrt(vcov(slope)[1, 1]), ratio = ratio,
           ratio_se_log = seen$se / seen$risk)
  do.call(put, c(list("cohorts", "validation", name), as.list(one)))
  found[[name]] <- one
  for (version in c("baseline", "both")) {
    beta <- function(part) if (version == "both") unname(coef(slope_of(part))) else 1
    new <- frame$risk
    for (fold in unique(frame$fold)) {
      others <- frame[frame$fold != fold, ]
      inside <- frame$fold == fold
      b <- beta(others)
      new[inside] <- 1 - exp(-exp(shift_of(others, b) + b * link(frame$risk[inside])))
    }
    after <- transform(frame, risk = new)
    put("cohorts", paste0("recalibrated-", version), name, intercept = shift_of(frame, beta(frame)),
        slope = beta(frame), ratio = seen$risk / mean(new),
        calibration_slope = coef(slope_of(after)))
  }
}
found <- do.call(rbind, found)
pooled <- function(item, y, se, back) {
  fit <- rma(y, se^2, method = "PM", test = "adhoc", control = list(tol = 1e-12, maxiter = 1000))
  future <- predict(fit)
  put("cohorts", "pooled", item, estimate = back(fit$b), lower = back(fit$ci.lb),
      upper = back(fit$ci.ub), prediction_lower = back(future$pi.lb),
      prediction_upper = back(future$pi.ub), tau = sqrt(fit$tau2), q = fit$QE, p = fit$QEp,
      i_squared = fit$I2 / 100)
}
by_logit <- function(item, p, se) pooled(item, qlogis(p), se / (p * (1 - p)), plogis)
by_logit("c", found[, "c"], found[, "c_se"])
by_logit("auc", found[, "auc"], found[, "auc_se"])
pooled("slope", found[, "slope"], found[, "slope_se"], identity)
pooled("ratio", log(found[, "ratio"]), found[, "ratio_se_log"], exp)
table <- do.call(rbind, rows)
table$value <- trimws(formatC(table$value, digits = 15, format = "g"))
write.csv(table, file.path(out_dir, "validation.csv"), row.names = FALSE, quote = FALSE, eol = "\n")
