package org.sequencelayers;

/**
 * The functions of the C ABI that the binding calls: {@code sl_layer_step} is {@link #layerStep}.
 * Pointers and sizes are {@code long}, so that an implementation needs no types of its own: {@link
 * JnaAbi} is one, a later one on the Foreign Function and Memory API another.
 */
interface Abi {
  int version();

  long statusName(int status);

  int layerOpen(long directory, long options, long out, long error);

  int layerCreate(long config, long configSize, long weights, long options, long out, long error);

  void layerFree(long layer);

  int layerInputSpec(long layer, long input, long error);

  int layerOutputSpec(
      long layer, long input, long constants, long numConstants, long output, long error);

  long layerMetadata(long layer, long key);

  int layerOutputShape(long layer, int mode, long x, long options, long y, long error);

  int layerApply(long layer, long x, long y, long options, long error);

  int layerStep(long layer, long state, long x, long y, long options, long error);

  int layerStepSlots(
      long layer, long state, long slots, long count, long x, long y, long options, long error);

  int layerSupportsStep(long layer, long supportsStep, long error);

  int layerBlockSize(long layer, long blockSize, long error);

  int layerOutputRatio(long layer, long numerator, long denominator, long error);

  int layerInputLatency(long layer, long steps, long error);

  int layerOutputLatency(long layer, long steps, long error);

  int layerReceptiveField(long layer, long exists, long start, long end, long error);

  int layerSaveWeights(long layer, long path, long error);

  long layerParameterCount(long layer);

  int layerDescribe(
      long layer,
      long input,
      long constants,
      long numConstants,
      long buffer,
      long capacity,
      long needed,
      long error);

  long layerConstantCount(long layer);

  int layerConstant(long layer, long index, long info, long error);

  long layerEmitCount(long layer, long input, long constants, long numConstants, long error);

  int layerEmitShape(
      long layer,
      int mode,
      long x,
      long options,
      long index,
      long path,
      long capacity,
      long emit,
      long error);

  long layerStepDifferenceCount(long layer);

  int layerStepDifference(long layer, long index, long difference, long error);

  int stateAlloc(long layer, long options, long out, long error);

  void stateFree(long state);

  int stateReset(long state, long error);

  int stateResetItem(long state, long item, long error);

  int statePrepare(long state, long constants, long numConstants, long error);

  int stateCopy(long target, long source, long error);

  int stateCopyItem(long target, long targetItem, long source, long sourceItem, long error);

  long stateSaveSize(long state);

  int stateSave(long state, long buffer, long size, long error);

  int stateLoad(long state, long buffer, long size, long error);

  long stateSaveItemSize(long state);

  int stateSaveItem(long state, long item, long buffer, long size, long error);

  int stateLoadItem(long state, long item, long buffer, long size, long error);

  long stateTensorCount(long state);

  int stateTensor(long state, long index, long name, long tensor, long error);

  int decoderCreate(long layer, long options, long out, long error);

  void decoderFree(long decoder);

  int decoderPrefill(long decoder, long tokens, long options, long error);

  int decoderSample(long decoder, long tokens, long logProbs, long mask, long options, long error);

  int decoderLogProb(long decoder, long tokens, long logProbs, long options, long error);

  int decoderStartSlot(long decoder, long slot, long options, long error);

  int decoderPrefillSlot(long decoder, long slot, long tokens, long options, long error);

  int decoderSampleSlots(
      long decoder,
      long slots,
      long count,
      long tokens,
      long logProbs,
      long mask,
      long options,
      long error);

  int decoderCopySlot(long target, long targetSlot, long source, long sourceSlot, long error);

  long decoderStepTokens(long decoder);

  long decoderSaveSlotSize(long decoder);

  int decoderSaveSlot(long decoder, long slot, long buffer, long size, long error);

  int decoderLoadSlot(long decoder, long slot, long buffer, long size, long error);

  int decoderCopy(long target, long source, long error);

  int decoderReset(long decoder, long error);

  int pipeCreate(long layer, long options, long out, long error);

  int pipeProcess(long pipe, long in, long out, long frames, long error);

  long pipeFlush(long pipe, long out, long frames, long error);

  int pipeReset(long pipe, long error);

  long pipeLatency(long pipe);

  long pipeHostChannels(long pipe);

  int pipeSetDry(long pipe, float dry, long error);

  int pipeSwap(long pipe, long next, long error);

  int pipeIsFading(long pipe);

  void pipeFree(long pipe);

  int weightsCreate(long out, long error);

  int weightsOpen(long path, long out, long error);

  int weightsRead(long data, long size, long out, long error);

  void weightsFree(long weights);

  int weightsAdd(long weights, long name, long tensor, long error);

  long weightsTensorCount(long weights);

  int weightsTensor(long weights, long index, long name, long tensor, long error);

  long weightsMetadata(long weights, long key);

  int weightSourceFind(long source, long collection, long name, long tensor, long error);

  int registryCreate(long out, long error);

  void registryFree(long registry);

  int registryAdd(long registry, long type, long callbacks, long error);

  long registryTypeCount(long registry);

  long registryType(long registry, long index);

  int profileCreate(long out, long error);

  int profileReset(long profile, long error);

  int profileDescribe(long profile, long buffer, long capacity, long needed, long error);

  void profileFree(long profile);

  void logSet(long callback, long userData, int level);
}
