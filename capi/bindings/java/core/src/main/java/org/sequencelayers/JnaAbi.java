package org.sequencelayers;

import com.sun.jna.FunctionMapper;
import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import java.lang.reflect.Method;
import java.util.Locale;
import java.util.Map;

/**
 * The C ABI by JNA's direct mapping, whose calls cost a tenth of those by a proxy of the interface:
 * the tests print both.
 */
final class JnaAbi implements Abi {
  static final FunctionMapper NAMES = JnaAbi::symbol;

  static {
    Native.register(
        JnaAbi.class,
        NativeLibrary.getInstance(
            JnaPlatform.libraryName(), Map.of(Library.OPTION_FUNCTION_MAPPER, NAMES)));
  }

  /** The symbol of a method: {@code layerStep} stands for {@code sl_layer_step}. */
  private static String symbol(NativeLibrary library, Method method) {
    return "sl_" + method.getName().replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
  }

  @Override
  public native int version();

  @Override
  public native long statusName(int status);

  @Override
  public native int layerOpen(long directory, long options, long out, long error);

  @Override
  public native int layerCreate(
      long config, long configSize, long weights, long options, long out, long error);

  @Override
  public native void layerFree(long layer);

  @Override
  public native int layerInputSpec(long layer, long input, long error);

  @Override
  public native int layerOutputSpec(
      long layer, long input, long constants, long numConstants, long output, long error);

  @Override
  public native long layerMetadata(long layer, long key);

  @Override
  public native int layerOutputShape(
      long layer, int mode, long x, long options, long y, long error);

  @Override
  public native int layerApply(long layer, long x, long y, long options, long error);

  @Override
  public native int layerStep(long layer, long state, long x, long y, long options, long error);

  @Override
  public native int layerStepSlots(
      long layer, long state, long slots, long count, long x, long y, long options, long error);

  @Override
  public native int layerSupportsStep(long layer, long supportsStep, long error);

  @Override
  public native int layerBlockSize(long layer, long blockSize, long error);

  @Override
  public native int layerOutputRatio(long layer, long numerator, long denominator, long error);

  @Override
  public native int layerInputLatency(long layer, long steps, long error);

  @Override
  public native int layerOutputLatency(long layer, long steps, long error);

  @Override
  public native int layerReceptiveField(long layer, long exists, long start, long end, long error);

  @Override
  public native int layerSaveWeights(long layer, long path, long error);

  @Override
  public native long layerParameterCount(long layer);

  @Override
  public native int layerDescribe(
      long layer,
      long input,
      long constants,
      long numConstants,
      long buffer,
      long capacity,
      long needed,
      long error);

  @Override
  public native long layerConstantCount(long layer);

  @Override
  public native int layerConstant(long layer, long index, long info, long error);

  @Override
  public native long layerEmitCount(
      long layer, long input, long constants, long numConstants, long error);

  @Override
  public native int layerEmitShape(
      long layer,
      int mode,
      long x,
      long options,
      long index,
      long path,
      long capacity,
      long emit,
      long error);

  @Override
  public native long layerStepDifferenceCount(long layer);

  @Override
  public native int layerStepDifference(long layer, long index, long difference, long error);

  @Override
  public native int stateAlloc(long layer, long options, long out, long error);

  @Override
  public native void stateFree(long state);

  @Override
  public native int stateReset(long state, long error);

  @Override
  public native int stateResetItem(long state, long item, long error);

  @Override
  public native int statePrepare(long state, long constants, long numConstants, long error);

  @Override
  public native int stateCopy(long target, long source, long error);

  @Override
  public native int stateCopyItem(
      long target, long targetItem, long source, long sourceItem, long error);

  @Override
  public native long stateSaveSize(long state);

  @Override
  public native int stateSave(long state, long buffer, long size, long error);

  @Override
  public native int stateLoad(long state, long buffer, long size, long error);

  @Override
  public native long stateSaveItemSize(long state);

  @Override
  public native int stateSaveItem(long state, long item, long buffer, long size, long error);

  @Override
  public native int stateLoadItem(long state, long item, long buffer, long size, long error);

  @Override
  public native long stateTensorCount(long state);

  @Override
  public native int stateTensor(long state, long index, long name, long tensor, long error);

  @Override
  public native int decoderCreate(long layer, long options, long out, long error);

  @Override
  public native void decoderFree(long decoder);

  @Override
  public native int decoderPrefill(long decoder, long tokens, long options, long error);

  @Override
  public native int decoderSample(
      long decoder, long tokens, long logProbs, long mask, long options, long error);

  @Override
  public native int decoderLogProb(
      long decoder, long tokens, long logProbs, long options, long error);

  @Override
  public native int decoderStartSlot(long decoder, long slot, long options, long error);

  @Override
  public native int decoderPrefillSlot(
      long decoder, long slot, long tokens, long options, long error);

  @Override
  public native int decoderSampleSlots(
      long decoder,
      long slots,
      long count,
      long tokens,
      long logProbs,
      long mask,
      long options,
      long error);

  @Override
  public native int decoderCopySlot(
      long target, long targetSlot, long source, long sourceSlot, long error);

  @Override
  public native long decoderStepTokens(long decoder);

  @Override
  public native long decoderSaveSlotSize(long decoder);

  @Override
  public native int decoderSaveSlot(long decoder, long slot, long buffer, long size, long error);

  @Override
  public native int decoderLoadSlot(long decoder, long slot, long buffer, long size, long error);

  @Override
  public native int decoderCopy(long target, long source, long error);

  @Override
  public native int decoderReset(long decoder, long error);

  @Override
  public native int pipeCreate(long layer, long options, long out, long error);

  @Override
  public native int pipeProcess(long pipe, long in, long out, long frames, long error);

  @Override
  public native long pipeFlush(long pipe, long out, long frames, long error);

  @Override
  public native int pipeReset(long pipe, long error);

  @Override
  public native long pipeLatency(long pipe);

  @Override
  public native long pipeHostChannels(long pipe);

  @Override
  public native int pipeSetDry(long pipe, float dry, long error);

  @Override
  public native int pipeSwap(long pipe, long next, long error);

  @Override
  public native int pipeIsFading(long pipe);

  @Override
  public native void pipeFree(long pipe);

  @Override
  public native int weightsCreate(long out, long error);

  @Override
  public native int weightsOpen(long path, long out, long error);

  @Override
  public native int weightsRead(long data, long size, long out, long error);

  @Override
  public native void weightsFree(long weights);

  @Override
  public native int weightsAdd(long weights, long name, long tensor, long error);

  @Override
  public native long weightsTensorCount(long weights);

  @Override
  public native int weightsTensor(long weights, long index, long name, long tensor, long error);

  @Override
  public native long weightsMetadata(long weights, long key);

  @Override
  public native int weightSourceFind(
      long source, long collection, long name, long tensor, long error);

  @Override
  public native int registryCreate(long out, long error);

  @Override
  public native void registryFree(long registry);

  @Override
  public native int registryAdd(long registry, long type, long callbacks, long error);

  @Override
  public native long registryTypeCount(long registry);

  @Override
  public native long registryType(long registry, long index);

  @Override
  public native int profileCreate(long out, long error);

  @Override
  public native int profileReset(long profile, long error);

  @Override
  public native int profileDescribe(
      long profile, long buffer, long capacity, long needed, long error);

  @Override
  public native void profileFree(long profile);

  @Override
  public native void logSet(long callback, long userData, int level);
}
