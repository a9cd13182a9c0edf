//! The model that learns, of either family: a dense student, its adapter, or a mixture of experts.

use super::DistillRecipe;
use crate::architecture::Architecture;
use crate::open::ModelFiles;
use anyhow::{Result, bail};
use retort_model::decoder::Trainable;
use retort_student::lora::LoraConfig;
use retort_teacher::train::Pretraining;
use retort_teacher::weights::Published;

/// What the balance of experts takes where the recipe says nothing: no prediction further ahead, since a module for that
/// follows text and not what a model is taught here, and DeepSeek-V3's small balance loss.
const BALANCE: Pretraining = Pretraining { mtp_weight: 0.0, balance_weight: 1e-4, bias_step: 1e-4, bias_until: 1.0 };

/// A model of any family with variables in place of weights, and the settings of its adapter where that is what is trained.
pub(super) fn trainee(files: &ModelFiles, recipe: &DistillRecipe) -> Result<(Box<dyn Trainable>, Option<LoraConfig>)> {
    match &files.architecture {
        Architecture::Dense(_) => {
            let trainee = files.trainee(recipe.lora.as_ref(), recipe.seed)?;
            if recipe.pretraining.is_some() {
                bail!("`[pretraining]` balances experts, and `{}` has none", files.name);
            }
            let lora = trainee.lora().cloned();
            Ok((Box::new(if recipe.recompute { trainee.recomputing() } else { trainee }), lora))
        }
        Architecture::DeepSeek(config) => {
            if recipe.lora.is_some() || recipe.recompute {
                bail!("`lora` and `recompute` are for students, and `{}` is a mixture of experts", files.name);
            }
            let source = Box::new(Published(files.checkpoint()?));
            let balance = recipe.pretraining.unwrap_or(BALANCE);
            let trainee =
                retort_teacher::train::Trainee::new(config.as_ref().clone(), source, balance, files.device())?;
            Ok((Box::new(trainee), None))
        }
    }
}
