package org.sequencelayers;

import com.sun.jna.Callback;
import com.sun.jna.CallbackReference;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Native calls by JNA. */
final class JnaPlatform implements Platform {
  private final Abi abi;
  // JNA frees the code of a callback that Java no longer refers to.
  private final List<Callback> callbacks = new CopyOnWriteArrayList<>();

  JnaPlatform() {
    if (Native.POINTER_SIZE != Long.BYTES) {
      throw new UnsupportedOperationException("libsequence_layers for Java needs a 64-bit system");
    }
    abi = new JnaAbi();
  }

  /**
   * The property {@code sequencelayers.library}, or the variable {@code SEQUENCE_LAYERS_LIBRARY},
   * is the path of the library; without both, the installed one is found by its name.
   */
  static String libraryName() {
    String path = System.getProperty("sequencelayers.library");
    path = path == null ? System.getenv("SEQUENCE_LAYERS_LIBRARY") : path;
    return path == null || path.isEmpty() ? "libsequence_layers.so.1" : path;
  }

  @Override
  public Abi abi() {
    return abi;
  }

  @Override
  public long address(Buffer direct) {
    return Pointer.nativeValue(Native.getDirectBufferPointer(direct));
  }

  @Override
  public ByteBuffer view(long address, long size) {
    return size == 0
        ? ByteBuffer.allocateDirect(0)
        : new Pointer(address).getByteBuffer(0, size).order(ByteOrder.nativeOrder());
  }

  @Override
  public String string(long address) {
    return address == 0 ? null : new Pointer(address).getString(0, "UTF-8");
  }

  @Override
  public long function(Callback1 callback) {
    return pointer((Jna1) callback::call);
  }

  @Override
  public long function(Callback3 callback) {
    return pointer((Jna3) callback::call);
  }

  @Override
  public long function(Callback4 callback) {
    return pointer((Jna4) callback::call);
  }

  @Override
  public long function(Callback5 callback) {
    return pointer((Jna5) callback::call);
  }

  @Override
  public long logFunction(LogCallback callback) {
    return pointer((JnaLog) callback::call);
  }

  private long pointer(Callback callback) {
    callbacks.add(callback);
    return Pointer.nativeValue(CallbackReference.getFunctionPointer(callback));
  }

  /** JNA finds the signature of a callback in the only method of its interface. */
  private interface JnaLog extends Callback {
    void invoke(long userData, int level, long message);
  }

  private interface Jna1 extends Callback {
    void invoke(long a);
  }

  private interface Jna3 extends Callback {
    int invoke(long a, long b, long c);
  }

  private interface Jna4 extends Callback {
    int invoke(long a, long b, long c, long d);
  }

  private interface Jna5 extends Callback {
    int invoke(long a, long b, long c, long d, long e);
  }
}
