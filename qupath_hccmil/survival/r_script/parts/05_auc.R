# ---- AUC over time ------------------------------------------------------------------------------

# The markers that the score is compared with, as terms of Cox models, by their titles in the
# report; the first is the score itself, which needs no model.
models_of_markers <- function() {
  models <- c(list(NULL), lapply(clinical, list))
  names(models) <- c("Risk score", vapply(clinical, function(term) term$title, ""))
  if (length(clinical) > 1) models <- c(models, list("Clinical model" = clinical))
  models
}

# riskRegression treats the influence of the weights at censoring times slightly differently, which
# shows in the standard errors.
part("AUC at horizons", c("survival", "riskRegression"), function() {
  report <- read_report("auc")
  gaps <- read_report("auc_differences")
  if (is.null(report)) return()
  models <- models_of_markers()
  titles <- names(models)
  for (i in seq_along(models)) {
    row <- report[report$marker == titles[i], ]
    if (!nrow(row)) next
    defined <- row[!is.na(row$auc), ]
    rows <- data
    markers <- list(m1 = data$risk_score)
    if (i > 1) {
      model <- fit_model(models[[i]])
      rows <- model$rows
      # Rounding must not tell patients with equal values apart.
      markers <- list(m1 = rows$risk_score, m2 = signif(linear_predictor(model), 12))
    }
    compare("auc", titles[i], "patients", row$patients[1], nrow(rows))
    compare("auc", paste(titles[i], row$time), "cases", row$cases,
            vapply(row$time, function(at) sum(rows$event == 1 & rows$time <= at), numeric(1)))
    compare("auc", paste(titles[i], row$time), "controls", row$controls,
            vapply(row$time, function(at) sum(rows$time > at), numeric(1)))
    if (!nrow(defined)) next
    score_data <- data.frame(time = rows$time, event = rows$event)
    found <- riskRegression::Score(
      markers, formula = Surv(time, event) ~ 1, data = score_data, times = defined$time,
      metrics = "auc", conf.int = confidence, se.fit = TRUE, null.model = FALSE,
      cens.method = "ipcw", cens.model = "km")$AUC
    one <- as.data.frame(found$score)
    one <- one[as.character(one$model) == paste0("m", length(markers)), ]
    lower <- if_known(one$se, pmax(one$AUC - critical * one$se, 0))
    upper <- if_known(one$se, pmin(one$AUC + critical * one$se, 1))
    what <- paste(titles[i], defined$time)
    compare("auc", what, "auc", defined$auc, one$AUC)
    compare("auc", what, "se", defined$se, one$se, 1e-4)
    compare("auc", what, "lower", defined$lower, lower, 1e-4)
    compare("auc", what, "upper", defined$upper, upper, 1e-4)
    if (i == 1 || is.null(gaps)) next
    gap <- gaps[gaps$marker == titles[i] & gaps$time %in% defined$time, ]
    two <- as.data.frame(found$contrasts)
    what <- paste(titles[i], gap$time)
    score_auc <- as.data.frame(found$score)
    compare("auc_differences", what, "score_auc", gap$score_auc,
            score_auc$AUC[as.character(score_auc$model) == "m1"])
    compare("auc_differences", what, "difference", gap$difference, -two$delta.AUC)
    compare("auc_differences", what, "lower", gap$lower, if_known(two$se, -two$upper), 1e-4)
    compare("auc_differences", what, "upper", gap$upper, if_known(two$se, -two$lower), 1e-4)
    compare("auc_differences", what, "p", gap$p, if_known(two$se, two$p), 1e-3)
  }
  not_done <<- c(not_done, paste("The simultaneous bands of the figure of AUC(t): not done,",
                                 "because they are simulated"))
})
