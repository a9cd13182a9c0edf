//! What other runtimes of this family have got wrong, or might.

/// One mistake in the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// YaRN's squared attention factor is missing from the softmax scale.
    SoftmaxScaleWithoutYarn,
    /// `mscale` in the softmax scale, where `mscale_all_dim` belongs.
    SoftmaxScaleByMscale,
    /// cos and sin times YaRN's attention factor, though the softmax scale has it.
    TablesTimesMscale,
    /// cos and sin rounded to bf16.
    TablesInBf16,
    /// A query's rotated part before the part without position.
    RotatedPartFirst,
    /// Pairs (x_i, x_{i + p/2}) instead of neighbours.
    RotatedInHalves,
    /// All heads' keys, then all values, in `kv_b_proj`, instead of head by head.
    KeysAndValuesInHalves,
    /// `rms_norm_eps` in the norms of the latents.
    LatentNormsByConfigEps,
    /// The other scoring function.
    OtherScoring,
    /// The selection bias in the weights of the chosen experts.
    BiasInWeights,
    /// Weights from (score + bias) - bias in f32, where small scores are lost.
    BiasAddedAndTakenAway,
    /// The selection bias rounded to bf16.
    BiasInBf16,
    /// No selection bias.
    BiasIgnored,
    /// Every expert may be chosen, whatever its group.
    GroupsIgnored,
    /// A group is as strong as its best expert, where its two best count together.
    GroupsByBestExpert,
    /// A group is as strong as its two best experts, where the best alone counts.
    GroupsByTwoBestExperts,
    /// Experts outside the kept groups score 0 instead of minus infinity.
    OutsideGroupsZero,
    /// The experts are the first of the kept groups: the choice is made over the mask.
    ChosenByMask,
    /// `norm_topk_prob` the other way round.
    OtherNormalisation,
    /// No `routed_scaling_factor`.
    WeightsNotScaled,
    /// Shared experts times `routed_scaling_factor`.
    SharedExpertsScaled,
    /// In multi-token prediction, the hidden state before the embedding.
    AheadHiddenFirst,
    /// The hidden state before the final norm.
    AheadBeforeFinalNorm,
    /// The embedding of the row's own token, not of the one that follows.
    AheadOfItsOwnToken,
    /// Zeros for the first row's embedding.
    AheadWithoutFirstEmbedding,
}
