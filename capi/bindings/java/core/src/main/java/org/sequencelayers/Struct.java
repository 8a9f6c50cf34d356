package org.sequencelayers;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * A C struct, array or string in direct memory, which lives as long as this object. The classes
 * that fill a struct name the offsets of its fields.
 */
final class Struct {
  private final ByteBuffer bytes;
  private final long address;

  /** Zeros. */
  Struct(int size) {
    this(ByteBuffer.allocateDirect(size));
  }

  /** The memory of a direct buffer, from its first byte on. */
  Struct(ByteBuffer bytes) {
    this.bytes = bytes.order(ByteOrder.nativeOrder());
    this.address = Platform.CURRENT.address(bytes);
  }

  /** A struct of zeros but for its first field, its size. */
  static Struct sized(int size) {
    return new Struct(size).putInt(0, size);
  }

  /** A string in UTF-8, with a final zero. */
  static Struct string(String text) {
    byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
    Struct struct = new Struct(encoded.length + 1);
    struct.bytes.put(0, encoded);
    return struct;
  }

  long address() {
    return address;
  }

  int size() {
    return bytes.capacity();
  }

  ByteBuffer bytes() {
    return bytes;
  }

  int getInt(int offset) {
    return bytes.getInt(offset);
  }

  long getLong(int offset) {
    return bytes.getLong(offset);
  }

  Struct putInt(int offset, int value) {
    bytes.putInt(offset, value);
    return this;
  }

  Struct putLong(int offset, long value) {
    bytes.putLong(offset, value);
    return this;
  }

  Struct putFloat(int offset, float value) {
    bytes.putFloat(offset, value);
    return this;
  }

  Struct putDouble(int offset, double value) {
    bytes.putDouble(offset, value);
    return this;
  }

  /** Copies another struct into this one. */
  Struct put(int offset, Struct value) {
    bytes.put(offset, value.bytes, 0, value.size());
    return this;
  }

  /** The string that a pointer in the struct points to; null for a null pointer. */
  String getString(int offset) {
    return Platform.CURRENT.string(getLong(offset));
  }

  /** The text that begins at an offset and ends in zero. */
  String text(int offset) {
    int end = offset;
    while (end < size() && bytes.get(end) != 0) {
      ++end;
    }
    byte[] encoded = new byte[end - offset];
    bytes.get(offset, encoded);
    return new String(encoded, StandardCharsets.UTF_8);
  }
}
