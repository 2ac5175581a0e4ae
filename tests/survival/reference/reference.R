# Reference numbers for the survival tests, from R.
#
#   python -m tests.survival.datasets DATA tcga_lihc.csv
#   Rscript tests/survival/reference/reference.R DATA tests/survival/reference
#
# Debian 12: R 4.2.2, survival 3.5-3, riskRegression 2022.11.28, prodlim 2019.11.13,
# cmprsk 2.2-11, mice 3.15.0, rms 6.5.0. Run from the root of the repository. Every CSV is long:
# dataset, item, key, quantity, value.

suppressPackageStartupMessages({
  library(survival); library(riskRegression); library(prodlim)
  library(cmprsk); library(mice); library(rms)
})
options(digits = 17)
arguments <- commandArgs(trailingOnly = TRUE)
data_dir <- arguments[1]; out_dir <- arguments[2]
load <- function(name) {
  frame <- read.csv(file.path(data_dir, paste0(name, ".csv")), na.strings = "")
  frame[!is.na(frame$time) & !is.na(frame$event), ]
}
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

rossi <- load("rossi"); gbsg2 <- load("gbsg2"); cgvhd <- load("cgvhd"); tcga <- load("tcga")
gbsg2$tgrade <- factor(gbsg2$tgrade, levels = c("I", "II", "III"))
tcga$stage <- factor(tcga$stage, levels = c("I", "II", "III-IV"))
tcga$vascular <- factor(tcga$vascular, levels = c("None", "Micro", "Macro"))
tcga$gender <- factor(tcga$gender, levels = c("FEMALE", "MALE"))
rossi$high <- ifelse(rossi$prio > 2, "high", "low")
tcga$high <- tcga$group; gbsg2$high <- gbsg2$group

# --- Kaplan-Meier, medians, reverse Kaplan-Meier, restricted mean, log-rank --------------------
km <- function(name, frame, horizons, tau) {
  fits <- list(
    overall = survfit(Surv(time, event) ~ 1, frame, conf.type = "log-log"),
    high = survfit(Surv(time, event) ~ 1, frame[frame$high == "high", ], conf.type = "log-log"),
    low = survfit(Surv(time, event) ~ 1, frame[frame$high == "low", ], conf.type = "log-log"),
    followup = survfit(Surv(time, 1 - event) ~ 1, frame, conf.type = "log-log"))
  for (item in names(fits)) {
    fit <- fits[[item]]
    at <- summary(fit, times = horizons)
    for (i in seq_along(at$time))
      put(name, paste0("km-", item), at$time[i], survival = at$surv[i], lower = at$lower[i],
          upper = at$upper[i], at_risk = at$n.risk[i])
    table <- summary(fit, rmean = tau)$table
    put(name, paste0("median-", item), "", median = table["median"],
        lower = table["0.95LCL"], upper = table["0.95UCL"])
    put(name, paste0("rmst-", item), tau, rmst = table[grep("^[*]?rmean", names(table))[1]],
        se = table[grep("se[(]", names(table))[1]])
  }
  test <- survdiff(Surv(time, event) ~ high, frame)
  put(name, "logrank", "high", chisq = test$chisq, p = pchisq(test$chisq, 1, lower.tail = FALSE))
}
km("rossi", rossi, c(10, 20, 40, 52), 50)
km("gbsg2", gbsg2, c(1, 3, 5), 5)
km("tcga", tcga, c(0.5, 1, 3, 5), 3)
strat <- survdiff(Surv(time, event) ~ high + strata(tgrade), gbsg2)
put("gbsg2", "logrank-stratified", "high", chisq = strat$chisq, p = pchisq(strat$chisq, 1, lower.tail = FALSE))
three <- survdiff(Surv(time, event) ~ tgrade, gbsg2)
put("gbsg2", "logrank", "tgrade", chisq = three$chisq, p = pchisq(three$chisq, 2, lower.tail = FALSE))
save_rows("kaplan_meier.csv")

# --- Cox, likelihood ratio, proportional hazards ------------------------------------------------
cox <- function(name, item, formula, frame) {
  environment(formula) <- environment()  # cox.zph looks for the data there
  fit <- coxph(formula, frame, ties = "efron",
               control = coxph.control(eps = 1e-11, toler.chol = 1e-13, iter.max = 50))
  table <- summary(fit)$coefficients
  interval <- summary(fit)$conf.int
  for (i in seq_len(nrow(table)))
    put(name, item, rownames(table)[i], coef = table[i, "coef"], se = table[i, "se(coef)"],
        z = table[i, "z"], p = table[i, "Pr(>|z|)"], hr = interval[i, "exp(coef)"],
        lower = interval[i, "lower .95"], upper = interval[i, "upper .95"])
  put(name, item, "", n = fit$n, events = fit$nevent, loglik = fit$loglik[2],
      loglik_null = fit$loglik[1])
  zph <- cox.zph(fit, transform = "km")$table
  for (i in seq_len(nrow(zph)))
    put(name, paste0(item, "-zph"), rownames(zph)[i], chisq = zph[i, "chisq"], df = zph[i, "df"],
        p = zph[i, "p"])
  invisible(fit)
}
cox("rossi", "multi", Surv(time, event) ~ fin + age + race + wexp + mar + paro + prio, rossi)
cox("rossi", "uni-prio", Surv(time, event) ~ prio, rossi)
with_score <- cox("gbsg2", "multi", Surv(time, event) ~ score + horTh + tgrade + age + tsize, gbsg2)
without <- cox("gbsg2", "clinical", Surv(time, event) ~ horTh + tgrade + age + tsize, gbsg2)
lr <- 2 * (with_score$loglik[2] - without$loglik[2])
put("gbsg2", "lr", "score", chisq = lr, df = 1, p = pchisq(lr, 1, lower.tail = FALSE))
cox("gbsg2", "uni-tgrade", Surv(time, event) ~ tgrade, gbsg2)
cox("tcga", "uni-stage", Surv(time, event) ~ stage, tcga)
cox("tcga", "uni-vascular", Surv(time, event) ~ vascular, tcga)
cox("tcga", "uni-score", Surv(time, event) ~ scale(score), tcga)
cox("tcga", "uni-group", Surv(time, event) ~ I(group == "high"), tcga)
cox("tcga", "multi", Surv(time, event) ~ score + stage + vascular + age + gender,
    tcga[complete.cases(tcga), ])

# Firth: the maximum of the Cox partial likelihood times the root of the information's determinant
# (Heinze and Schemper 2001), found with coxph that is not allowed to iterate.
firth <- function(name, item, formula, frame, terms) {
  penalised <- function(beta) {
    fit <- try(suppressWarnings(coxph(formula, frame, init = beta,
                                      control = coxph.control(iter.max = 0))), silent = TRUE)
    if (inherits(fit, "try-error")) return(-1e6)  # a line search went too far
    fit$loglik[2] - 0.5 * as.numeric(determinant(fit$var)$modulus)
  }
  best <- optim(rep(0, length(terms)), function(b) -penalised(b), method = "BFGS",
                control = list(reltol = 1e-15, maxit = 1000, ndeps = rep(1e-5, length(terms))))
  best <- optim(best$par, function(b) -penalised(b), method = "BFGS",
                control = list(reltol = 1e-15, maxit = 1000, ndeps = rep(1e-6, length(terms))))
  for (i in seq_along(terms)) {
    restricted <- function(value) {
      if (length(terms) == 1) return(penalised(value))
      -optim(best$par[-i], function(b) -penalised(append(b, value, i - 1)), method = "BFGS",
             control = list(reltol = 1e-14, ndeps = rep(1e-6, length(terms) - 1)))$value
    }
    gap <- function(value) 2 * (-best$value - restricted(value)) - qchisq(0.95, 1)
    lower <- uniroot(gap, c(best$par[i] - 8, best$par[i]), tol = 1e-9)$root
    upper <- uniroot(gap, c(best$par[i], best$par[i] + 8), tol = 1e-9)$root
    statistic <- 2 * (-best$value - restricted(0))
    put(name, item, terms[i], coef = best$par[i], lower = lower, upper = upper,
        chisq = statistic, p = pchisq(statistic, 1, lower.tail = FALSE))
  }
}
quiet <- rossi
quiet$no_events <- as.numeric(rossi$event == 0 & rossi$age > 35)
firth("rossi", "firth", Surv(time, event) ~ no_events + prio, quiet, c("no_events", "prio"))
firth("rossi", "firth-one", Surv(time, event) ~ no_events, quiet, "no_events")
save_rows("cox.csv")

# --- Concordance ---------------------------------------------------------------------------------
c_index <- function(name, frame, taus) {
  harrell <- concordance(Surv(time, event) ~ score, frame, reverse = TRUE)
  put(name, "harrell", "", c = harrell$concordance)
  for (tau in taus) {
    uno <- concordance(Surv(time, event) ~ score, frame, reverse = TRUE, timewt = "n/G2", ymax = tau)
    put(name, "uno", tau, c = uno$concordance)
  }
}
c_index("rossi", rossi, c(30, 50)); c_index("gbsg2", gbsg2, c(3, 5)); c_index("tcga", tcga, c(2, 4))
save_rows("concordance.csv")

# --- AUC(t), Brier, integrated Brier ---------------------------------------------------------------
auc <- function(name, frame, markers, times) {
  score <- Score(markers, formula = Surv(time, event) ~ 1, data = frame, times = times,
                 metrics = "auc", conf.int = TRUE, se.fit = TRUE, null.model = FALSE,
                 cens.method = "ipcw", cens.model = "km")
  for (i in seq_len(nrow(score$AUC$score))) {
    row <- score$AUC$score[i]
    put(name, paste0("auc-", row$model), row$times, auc = row$AUC, se = row$se,
        lower = row$lower, upper = row$upper)
  }
  for (i in seq_len(nrow(score$AUC$contrasts))) {
    row <- score$AUC$contrasts[i]
    put(name, "auc-difference", row$times, delta = row$delta.AUC, lower = row$lower,
        upper = row$upper, p = row$p)
  }
}
auc("gbsg2", gbsg2, list(score = gbsg2$score, tsize = gbsg2$tsize), c(1, 3, 5))
auc("tcga", tcga[!is.na(tcga$age), ], with(tcga[!is.na(tcga$age), ], list(score = score, age = age)),
    c(1, 2, 4))
auc("rossi", rossi, list(score = rossi$score, age = -rossi$age), c(20, 30, 45))

brier <- function(name, frame, risks, times) {
  score <- Score(list(model = risks), formula = Surv(time, event) ~ 1, data = frame, times = times,
                 metrics = "brier", conf.int = TRUE, se.fit = TRUE, null.model = TRUE,
                 summary = c("ibs", "ipa"), cens.method = "ipcw", cens.model = "km")
  table <- score$Brier$score
  for (i in seq_len(nrow(table)))
    put(name, paste0("brier-", table$model[i]), table$times[i], brier = table$Brier[i],
        se = table$se[i], ipa = table$IPA[i])
}
brier("gbsg2", gbsg2, cbind(gbsg2$predicted, gbsg2$predicted5), c(3, 5))
# predictRisk finds the data by name, so the model's frame is a global one.
fitted_brier <- function(name) {
  score_fit <- coxph(Surv(time, event) ~ score, fitted_frame, x = TRUE)
  grid <- seq(0.05, 4, length.out = 80)
  at <- function(times)
    as.data.frame(Score(list(cox = score_fit), formula = Surv(time, event) ~ 1,
                        data = fitted_frame, times = times, metrics = "brier", null.model = TRUE,
                        se.fit = FALSE, conf.int = FALSE, summary = "ipa",
                        cens.model = "km")$Brier$score)
  single <- at(c(1, 2, 4))
  for (i in seq_len(nrow(single)))
    put(name, paste0("brier-", single$model[i]), single$times[i], brier = single$Brier[i],
        ipa = single$IPA[i])
  integrated <- at(grid)
  for (model in unique(as.character(integrated$model))) {
    part <- integrated[integrated$model == model, ]
    stopifnot(nrow(part) == length(grid))
    area <- sum(diff(part$times) * (head(part$Brier, -1) + tail(part$Brier, -1)) / 2)
    put(name, paste0("ibs-", model), "0.05-4", ibs = area / (4 - 0.05))
  }
  risk <- predictRisk(score_fit, newdata = fitted_frame[1:5, ], times = c(1, 2, 4))
  for (i in 1:5)
    put(name, "risk", i, year1 = risk[i, 1], year2 = risk[i, 2], year4 = risk[i, 3])
}
fitted_frame <- tcga; fitted_brier("tcga")
fitted_frame <- gbsg2; fitted_brier("gbsg2-fitted")
save_rows("auc_brier.csv")

# --- Calibration and decision curve ---------------------------------------------------------------
# Observed/expected: 1 - Kaplan-Meier over the mean prediction. Slope: Cox on cloglog of the
# prediction, follow-up ended at the horizon. Curve, ICI: Austin, Harrell, van Klaveren 2020.
calibration <- function(name, frame, predicted, horizon) {
  frame$cll <- log(-log(1 - predicted))
  observed <- summary(survfit(Surv(time, event) ~ 1, frame), times = horizon)
  put(name, "calibration", horizon, observed = 1 - observed$surv, expected = mean(predicted),
      oe = (1 - observed$surv) / mean(predicted),
      oe_se_log = observed$std.err / (1 - observed$surv))
  ended <- frame
  ended$event <- ifelse(frame$time > horizon, 0, frame$event)
  ended$time <- pmin(frame$time, horizon)
  slope <- coxph(Surv(time, event) ~ cll, ended)
  put(name, "calibration", horizon, slope = coef(slope), slope_se = sqrt(vcov(slope)[1, 1]))
  knots <- attr(rcspline.eval(frame$cll, nk = 3, inclx = TRUE), "knots")
  ended <- cbind(ended, s = rcspline.eval(frame$cll, knots = knots, inclx = TRUE))
  names(ended)[ncol(ended) - 1:0] <- c("s1", "s2")
  curve <- coxph(Surv(time, event) ~ s1 + s2, ended)
  smooth <- 1 - as.vector(summary(survfit(curve, newdata = ended), times = horizon,
                                  extend = TRUE)$surv)
  gap <- abs(smooth - predicted)
  put(name, "calibration", horizon, ici = mean(gap), e50 = median(gap),
      e90 = quantile(gap, 0.9), emax = max(gap))
  for (i in 1:5) put(name, "smooth", paste(horizon, i), observed = smooth[i])
}
calibration("gbsg2", gbsg2, gbsg2$predicted, 3)
calibration("gbsg2", gbsg2, gbsg2$predicted5, 5)
for (threshold in c(0.2, 0.3, 0.4)) {
  positive <- gbsg2$predicted > threshold
  share <- mean(positive)
  survival <- summary(survfit(Surv(time, event) ~ 1, gbsg2[positive, ]), times = 3)$surv
  everyone <- summary(survfit(Surv(time, event) ~ 1, gbsg2), times = 3)$surv
  odds <- threshold / (1 - threshold)
  put("gbsg2", "net-benefit", threshold,
      model = (1 - survival) * share - survival * share * odds,
      all = (1 - everyone) - everyone * odds)
}
save_rows("calibration.csv")

# --- Competing risks ---------------------------------------------------------------------------------
states <- survfit(Surv(time, factor(event, 0:3)) ~ 1, cgvhd)
at <- summary(states, times = c(0.5, 1, 2, 5))
for (i in seq_along(at$time)) for (cause in 1:3)
  put("cgvhd", paste0("cif-", cause), at$time[i], cif = at$pstate[i, cause + 1],
      se = at$std.err[i, cause + 1])
gray <- timepoints(cuminc(cgvhd$time, cgvhd$event), c(0.5, 1, 2, 5))
for (cause in 1:3) for (i in 1:4)
  put("cgvhd", paste0("cuminc-", cause), c(0.5, 1, 2, 5)[i], cif = gray$est[cause, i],
      se = sqrt(gray$var[cause, i]))
for (cause in 1:3) {
  fit <- coxph(Surv(time, event == cause) ~ I(extent == "E"), cgvhd)
  put("cgvhd", paste0("cause-", cause), "extent", coef = coef(fit), se = sqrt(vcov(fit)[1, 1]))
}
save_rows("competing_risks.csv")

# --- 2x2 tables and Rubin's rules --------------------------------------------------------------------
published <- list(stroma = c(25, 4), atypia = c(36, 11), hyperchromasia = c(28, 7), immune = c(3, 19),
                  none = c(0, 9))
for (feature in names(published)) {
  count <- published[[feature]]
  table <- matrix(c(count[1], 200 - count[1], count[2], 200 - count[2]), 2)
  fisher <- fisher.test(table)
  put("tiles", feature, "", fisher = fisher$p.value, odds_ratio = fisher$estimate,
      lower = fisher$conf.int[1], upper = fisher$conf.int[2],
      chisq = suppressWarnings(chisq.test(table, correct = FALSE)$p.value),
      yates = suppressWarnings(chisq.test(table)$p.value))
}
estimates <- c(0.42, 0.55, 0.38, 0.61, 0.47); variances <- c(0.040, 0.043, 0.038, 0.045, 0.041)
pooled <- pool.scalar(estimates, variances, n = 120, k = 4)
put("rubin", "scalar", "", estimate = pooled$qbar, total = pooled$t, df = pooled$df, riv = pooled$r,
    fmi = pooled$fmi)
save_rows("tables.csv")
