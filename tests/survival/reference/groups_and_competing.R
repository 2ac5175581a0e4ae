# Reference numbers for competing risks, left truncation and the variants of the log-rank test.
#
#   python -m tests.survival.datasets DATA
#   Rscript tests/survival/reference/groups_and_competing.R DATA tests/survival/reference
#
# Debian 12: R 4.2.2, survival 3.5-3, cmprsk 2.2-11, riskRegression 2022.11.28, survMisc 0.5.6,
# Hmisc 4.8-0, metafor 3.8-1. The code was developed on other data (cgvhd, gbsg2 and simulations).

suppressPackageStartupMessages({
  library(survival); library(cmprsk); library(riskRegression); library(prodlim)
  library(survMisc); library(Hmisc); library(metafor)
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
save_rows <- function(file) {
  table <- do.call(rbind, rows)
  table$value <- trimws(formatC(table$value, digits = 15, format = "g"))
  write.csv(table, file.path(out_dir, file), row.names = FALSE, quote = FALSE, eol = "\n")
  rows <<- list()
}
flchain <- read.csv(file.path(data_dir, "flchain.csv"))
bmt <- read.csv(file.path(data_dir, "bmt.csv"))

# --- Weighted log-rank tests, trend, pairs ------------------------------------------------------
tests <- ten(Surv(flchain$time, flchain$event) ~ factor(flchain$group))
invisible(capture.output(comp(tests, p = c(0, 1), q = c(1, 1))))
weighted <- attr(tests, "lrt")
for (i in seq_len(nrow(weighted)))
  put("flchain", "weighted", weighted$W[i], chisq = weighted$chiSq[i])
difference <- survdiff(Surv(time, event) ~ group, flchain)
place <- 1:4
trend <- sum(place * (difference$obs - difference$exp))^2 /
  as.numeric(place %*% difference$var %*% place)
put("flchain", "trend", "", chisq = trend, p = pchisq(trend, 1, lower.tail = FALSE))
pairs <- combn(sort(unique(flchain$group)), 2)
p <- apply(pairs, 2, function(pair) {
  fit <- survdiff(Surv(time, event) ~ group, flchain[flchain$group %in% pair, ])
  pchisq(fit$chisq, 1, lower.tail = FALSE)
})
holm <- p.adjust(p, "holm")
for (i in seq_len(ncol(pairs)))
  put("flchain", "pairs", paste(pairs[, i], collapse = "-"), p = p[i], holm = holm[i])
stratified <- survdiff(Surv(time, event) ~ group + strata(sex), flchain)
put("flchain", "logrank-by-sex", "", chisq = stratified$chisq)

# --- Left truncation, age as the time scale -----------------------------------------------------
late <- flchain
fit <- survfit(Surv(entry_time, exit_age, event) ~ 1, late, conf.type = "log-log")
at <- summary(fit, times = c(60, 70, 80, 90))
for (i in seq_along(at$time))
  put("flchain", "late-km", at$time[i], survival = at$surv[i], lower = at$lower[i],
      upper = at$upper[i], at_risk = at$n.risk[i])
table <- summary(fit)$table
put("flchain", "late-median", "", median = table["median"], lower = table["0.95LCL"],
    upper = table["0.95UCL"])
cox <- coxph(Surv(entry_time, exit_age, event) ~ score + sex, late, ties = "efron",
             control = coxph.control(eps = 1e-11, toler.chol = 1e-13, iter.max = 50))
for (name in c("score", "sexM"))
  put("flchain", "late-cox", name, coef = coef(cox)[name], se = sqrt(vcov(cox)[name, name]))
put("flchain", "late-cox", "", loglik = cox$loglik[2], loglik_null = cox$loglik[1])
zph <- cox.zph(cox, transform = "km")$table
for (name in rownames(zph)) put("flchain", "late-zph", name, chisq = zph[name, "chisq"])
states <- survfit(Surv(entry_time, exit_age, factor(cause, 0:2)) ~ 1, late,
                  id = seq_len(nrow(late)))
at <- summary(states, times = c(60, 70, 80, 90))
for (i in seq_along(at$time)) for (cause in 1:2)
  put("flchain", paste0("late-cif-", cause), at$time[i], cif = at$pstate[i, cause + 1],
      se = at$std.err[i, cause + 1])
# The log-rank test is the score test of this model, where nothing is tied (Efron is then exact).
apart <- late
apart$exit_age <- apart$exit_age + seq_len(nrow(apart)) * 1e-5
score <- coxph(Surv(entry_time, exit_age, event) ~ group, apart)
put("flchain", "late-logrank", "", chisq = score$score)

# --- Gray's test, cumulative incidence ----------------------------------------------------------
for (name in c("flchain", "bmt")) {
  frame <- get(name)
  if (name == "bmt") frame$cause <- frame$event
  test <- cuminc(frame$time, frame$cause, frame$group)$Tests
  for (cause in 1:2)
    put(name, "gray", cause, chisq = test[cause, "stat"], p = test[cause, "pv"])
  times <- if (name == "bmt") c(5, 10, 20) else c(2, 5, 10)
  incidence <- timepoints(cuminc(frame$time, frame$cause), times)
  for (cause in 1:2) for (i in seq_along(times))
    put(name, paste0("cuminc-", cause), times[i], cif = incidence$est[cause, i],
        se = sqrt(incidence$var[cause, i]))
}

# --- Fine and Gray --------------------------------------------------------------------------------
covariates <- with(flchain, cbind(score = score, sexM = sex == "M", age = age))
fit <- crr(flchain$untied, flchain$cause, covariates, gtol = 1e-10)
for (name in colnames(covariates)) {
  i <- match(name, colnames(covariates))
  put("flchain", "crr-untied", name, coef = fit$coef[i], se = sqrt(fit$var[i, i]))
}
put("flchain", "crr-untied", "", loglik = fit$loglik, loglik_null = fit$loglik.null)
path <- predict(fit, covariates[1:4, ])
for (time in c(2, 5, 10)) {
  row <- path[max(which(path[, 1] <= time)), -1]
  put("flchain", "crr-risk", time, p1 = row[1], p2 = row[2], p3 = row[3], p4 = row[4])
}
# With ties, finegray() orders an event before a censoring at the same time, as our code does.
flchain$id <- seq_len(nrow(flchain))
flchain$ending <- factor(flchain$cause, 0:2)
weights <- finegray(Surv(time, ending) ~ ., flchain, etype = 1)
tied <- coxph(Surv(fgstart, fgstop, fgstatus) ~ score + sex + age, weights, weights = fgwt,
              ties = "breslow", control = coxph.control(eps = 1e-11, iter.max = 50))
for (name in names(coef(tied))) put("flchain", "finegray-tied", name, coef = coef(tied)[name])

# So does crr() when every censoring is a little later.
shifted <- ifelse(flchain$cause == 0, flchain$time * (1 + 1e-6), flchain$time)
fit <- crr(shifted, flchain$cause, covariates, gtol = 1e-10)
for (name in colnames(covariates)) {
  i <- match(name, colnames(covariates))
  put("flchain", "crr-tied", name, coef = fit$coef[i], se = sqrt(fit$var[i, i]))
}

# --- AUC(t) and Brier score -----------------------------------------------------------------------
Surv <- survival::Surv
found <- Score(list(score = flchain$score, age = flchain$age), formula = Hist(untied, cause) ~ 1,
               data = flchain, times = c(2, 5, 10), cause = 1, metrics = "auc", se.fit = TRUE,
               conf.int = TRUE, null.model = FALSE, cens.method = "ipcw", cens.model = "km")
table <- found$AUC$score
for (i in seq_len(nrow(table)))
  put("flchain", paste0("competing-auc-", table$model[i]), table$times[i], auc = table$AUC[i],
      se = table$se[i])
contrast <- found$AUC$contrasts
for (i in seq_len(nrow(contrast)))
  put("flchain", "competing-auc-difference", contrast$times[i], delta = contrast$delta.AUC[i],
      p = contrast$p[i])
risks <- cbind(1 - (1 - flchain$predicted)^0.4, flchain$predicted)
found <- Score(list(model = risks), formula = Hist(untied, cause) ~ 1, data = flchain,
               times = c(4, 10), cause = 1, metrics = "brier", null.model = TRUE,
               cens.method = "ipcw", cens.model = "km", summary = "ipa")
table <- found$Brier$score
for (i in seq_len(nrow(table)))
  put("flchain", paste0("competing-brier-", table$model[i]), table$times[i],
      brier = table$Brier[i])

# --- Calibration and decision curve ------------------------------------------------------------------
horizon <- 10
ended <- ifelse(flchain$untied > horizon, 0, flchain$cause)
until <- pmin(flchain$untied, horizon)
link <- log(-log(1 - flchain$predicted))
observed <- timepoints(cuminc(flchain$untied, flchain$cause), horizon)
expected <- mean(flchain$predicted)
put("flchain", "competing-calibration", horizon, observed = observed$est[1],
    oe = observed$est[1] / expected, oe_se_log = sqrt(observed$var[1]) / observed$est[1])
slope <- crr(until, ended, link, gtol = 1e-10)
put("flchain", "competing-calibration", horizon, slope = slope$coef, slope_se = sqrt(slope$var))
spline <- rcspline.eval(link, knots = quantile(link, c(0.1, 0.5, 0.9)), inclx = TRUE)
curve <- crr(until, ended, spline, gtol = 1e-10)
path <- predict(curve, spline)
smooth <- path[nrow(path), -1]
gap <- abs(smooth - flchain$predicted)
put("flchain", "competing-calibration", horizon, ici = mean(gap), e50 = median(gap),
    e90 = quantile(gap, 0.9), emax = max(gap))
for (threshold in c(0.05, 0.1, 0.2)) {
  above <- flchain$predicted > threshold
  risk <- timepoints(cuminc(flchain$untied[above], flchain$cause[above]), horizon)$est[1]
  put("flchain", "competing-net-benefit", threshold,
      model = mean(above) * (risk - (1 - risk) * threshold / (1 - threshold)))
}
save_rows("groups_and_competing.csv")

# --- Subgroups and centres (the year of the sample stands for a centre) -----------------------------
exact <- coxph.control(eps = 1e-11, toler.chol = 1e-13, iter.max = 50)
cox <- function(formula, frame = flchain) coxph(formula, frame, control = exact)
with_events <- subset(flchain, ave(event, year, FUN = sum) > 0)
put_test <- function(item, smaller, larger) {
  gain <- 2 * (larger$loglik[2] - smaller$loglik[2])
  degrees <- length(coef(larger)) - length(coef(smaller))
  put("flchain", "interaction", item, chisq = gain, df = degrees,
      p = pchisq(gain, degrees, lower.tail = FALSE))
}
put_test("sex", cox(Surv(time, event) ~ score + strata(sex)),
         cox(Surv(time, event) ~ score:strata(sex) + strata(sex)))
put_test("age", cox(Surv(time, event) ~ score + age), cox(Surv(time, event) ~ score * age))
put_test("year", cox(Surv(time, event) ~ score + strata(year), with_events),
         cox(Surv(time, event) ~ score:strata(year) + strata(year), with_events))
flchain <- as.data.frame(flchain)  # Score() makes it a data.table
for (name in c("F", "M")) {
  fit <- coxph(Surv(time, event) ~ score, flchain[flchain$sex == name, ], control = exact)
  put("flchain", "subgroup-sex", name, coef = coef(fit), se = sqrt(vcov(fit)))
}
younger <- flchain$age <= median(flchain$age)
for (half in c("younger", "older")) {
  fit <- coxph(Surv(time, event) ~ score, flchain[younger == (half == "younger"), ],
               control = exact)
  put("flchain", "subgroup-age", half, coef = coef(fit), se = sqrt(vcov(fit)))
}
models <- list(
  plain = coxph(Surv(time, event) ~ score + age, flchain, control = exact),
  clustered = coxph(Surv(time, event) ~ score + age, flchain, cluster = year, control = exact),
  stratified = cox(Surv(time, event) ~ score + age + strata(year)),
  late = coxph(Surv(entry_time, exit_age, event) ~ score + sex, flchain, cluster = year,
               control = exact))
for (name in names(models))
  put("flchain", "centre-models", name, coef = coef(models[[name]])[1],
      se = sqrt(vcov(models[[name]])[1, 1]))
years <- names(which(tapply(flchain$event, flchain$year, sum) > 1))
effects <- sapply(years, function(name) {
  here <- flchain$year == name
  fit <- coxph(Surv(time, event) ~ score, flchain[here, ], control = exact)
  put("flchain", "by-centre", name, coef = coef(fit), se = sqrt(vcov(fit)))
  rest <- cox(Surv(time, event) ~ score + strata(year), flchain[!here, ])
  put("flchain", "without-centre", name, coef = coef(rest), se = sqrt(vcov(rest)))
  c(coef(fit), sqrt(vcov(fit)))
})
put_pooled <- function(item, estimates, errors) {
  fit <- rma(estimates, errors^2, method = "PM", test = "adhoc",
             control = list(tol = 1e-12, maxiter = 1000))
  future <- predict(fit)
  put("pooled", item, "", estimate = fit$b, se = fit$se, lower = fit$ci.lb, upper = fit$ci.ub,
      low_new = future$pi.lb, high_new = future$pi.ub, tau = sqrt(fit$tau2), q = fit$QE,
      p = fit$QEp, i_squared = fit$I2 / 100)
}
put_pooled("flchain", effects[1, ], effects[2, ])
put_pooled("heterogeneous", c(-0.3, 0.8, 0.15, 1.4, 0.6, 0.9), c(0.2, 0.3, 0.12, 0.25, 0.4, 0.18))
put_pooled("two", c(0.4, 0.9), c(0.2, 0.15))
save_rows("groups_and_centres.csv")
