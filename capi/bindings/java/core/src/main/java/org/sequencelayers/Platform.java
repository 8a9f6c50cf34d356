package org.sequencelayers;

import java.nio.Buffer;
import java.nio.ByteBuffer;

/**
 * All that the binding needs of a way to call native code. {@link JnaPlatform} is the only class
 * besides {@link JnaAbi} that knows JNA.
 */
interface Platform {
  /** The platform in use. */
  Platform CURRENT = new JnaPlatform();

  /** The functions of the library. */
  Abi abi();

  /** Address of the first element of a direct buffer, whatever its position. */
  long address(Buffer direct);

  /** A direct buffer, in native byte order, over memory that the caller keeps alive. */
  ByteBuffer view(long address, long size);

  /** The UTF-8 string at an address, which ends in zero; null for a null pointer. */
  String string(long address);

  /** A C function pointer to Java code, which lives as long as the process. */
  long function(Callback1 callback);

  /** Like {@link #function(Callback1)}, with a status as result. */
  long function(Callback3 callback);

  /** Like {@link #function(Callback1)}, with a status as result. */
  long function(Callback4 callback);

  /** Like {@link #function(Callback1)}, with a status as result. */
  long function(Callback5 callback);

  /** An {@code sl_log_callback}, which lives as long as the process. */
  long logFunction(LogCallback callback);

  /** {@code void (*)(void*, int32_t, const char*)}. */
  interface LogCallback {
    void call(long userData, int level, long message);
  }

  /** {@code void (*)(void*)}. */
  interface Callback1 {
    void call(long a);
  }

  /** A function of three pointers that returns a status. */
  interface Callback3 {
    int call(long a, long b, long c);
  }

  /** A function of four pointers that returns a status. */
  interface Callback4 {
    int call(long a, long b, long c, long d);
  }

  /** A function of five pointers that returns a status. */
  interface Callback5 {
    int call(long a, long b, long c, long d, long e);
  }
}
